"""Grammars of names: DNS labels and subdomains, label keys and values, ports, identifiers.

Every function returns the list of what is wrong with a string, in upstream's words. Answers are
kept in bounded caches because the same few names recur in almost every write.
"""

import re
from functools import lru_cache

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = r"\*\." + _SUBDOMAIN
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(" + _KEY + ")?"
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"

_label = re.compile(_LABEL).fullmatch
_subdomain = re.compile(_SUBDOMAIN).fullmatch
_label_1035 = re.compile(_LABEL_1035).fullmatch
_wildcard = re.compile(_WILDCARD).fullmatch
_key = re.compile(_KEY).fullmatch
_value = re.compile(_VALUE).fullmatch
_identifier = re.compile(_IDENTIFIER).fullmatch
_config_key = re.compile(_CONFIG_KEY).fullmatch
_header = re.compile(_HEADER).fullmatch
_percent = re.compile(_PERCENT).fullmatch
_http_path = re.compile(_HTTP_PATH).fullmatch
_reason = re.compile(_REASON).fullmatch
_port_name = re.compile("[-a-z0-9]+").fullmatch
_letter = re.compile("[a-z]").search

Messages = tuple[str, ...]
_REMEMBERED = 8192

EMPTY = "must be non-empty"
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
_KEY_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)


def pattern_text(text: str, pattern: str, *examples: str) -> str:
    """A message that shows the pattern and examples of what fits it."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def max_length(length: int, unit: str = "bytes") -> str:
    return f"must be no more than {length} {unit}"


def between(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


@lru_cache(_REMEMBERED)
def is_dns1123_label(value: str) -> Messages:
    errors = [max_length(63, "characters")] if len(value) > 63 else []
    if not _label(value):
        if _subdomain(value):
            errors.append("must not contain dots")
        else:
            text = (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
                "'-', and must start and end with an alphanumeric character"
            )
            errors.append(pattern_text(text, _LABEL, "my-name", "123-abc"))
    return tuple(errors)


@lru_cache(_REMEMBERED)
def is_dns1123_subdomain(value: str, unit: str = "characters") -> Messages:
    errors = [max_length(253, unit)] if len(value.encode()) > 253 else []
    if not _subdomain(value):
        errors.append(pattern_text(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return tuple(errors)


@lru_cache(_REMEMBERED)
def is_dns1035_label(value: str) -> Messages:
    errors = [max_length(63, "characters")] if len(value) > 63 else []
    if not _label_1035(value):
        text = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character"
        )
        errors.append(pattern_text(text, _LABEL_1035, "my-name", "abc-123"))
    return tuple(errors)


def is_wildcard_subdomain(value: str) -> Messages:
    errors = [max_length(253, "characters")] if len(value) > 253 else []
    if not _wildcard(value):
        text = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
            "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and "
            "end with an alphanumeric character"
        )
        errors.append(pattern_text(text, _WILDCARD, "*.example.com"))
    return tuple(errors)


@lru_cache(_REMEMBERED)
def is_qualified_name(value: str) -> Messages:
    """A label key: an optional DNS prefix and a name of at most 63 characters."""
    errors: list[str] = []
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        text = "a valid label key " + pattern_text(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc")
        return (
            text + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    if slash and not prefix:
        errors.append("prefix part " + EMPTY)
    elif slash:
        errors += ["prefix part " + message for message in is_dns1123_subdomain(prefix, "bytes")]
    if not name:
        errors.append("name part " + EMPTY)
    elif len(name.encode()) > 63:
        errors.append("name part " + max_length(63))
    if not _key(name):
        text = pattern_text(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc")
        errors.append("name part " + text)
    return tuple(errors)


@lru_cache(_REMEMBERED)
def is_label_value(value: str) -> Messages:
    errors = [max_length(63)] if len(value.encode()) > 63 else []
    if not _value(value):
        text = "a valid label must be an empty string or consist of alphanumeric characters, "
        text += "'-', '_' or '.', and must start and end with an alphanumeric character"
        errors.append(pattern_text(text, _VALUE, "MyValue", "my_value", "12345"))
    return tuple(errors)


def is_c_identifier(value: str) -> Messages:
    if _identifier(value):
        return ()
    text = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string "
        "of alphanumeric characters or '_'"
    )
    return (pattern_text(text, _IDENTIFIER, "my_name", "MY_NAME", "MyName"),)


@lru_cache(_REMEMBERED)
def is_env_var_name(value: str) -> Messages:
    """The relaxed rule: printable ASCII but for the equals sign."""
    errors = [f"environment variable name {EMPTY}"] if not value else []
    if not all(" " <= c <= "~" and c != "=" for c in value):
        errors.append(
            "a valid environment variable name must consist only of printable ASCII characters "
            "other than '='"
        )
    return tuple(errors)


@lru_cache(_REMEMBERED)
def is_config_key(value: str) -> Messages:
    """A key of a ConfigMap or Secret, which may become a file name."""
    errors = [max_length(253, "characters")] if len(value) > 253 else []
    if not _config_key(value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errors.append(pattern_text(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        errors.append(f"must not be '{value}'")
    elif value.startswith(".."):
        errors.append("must not start with '..'")
    return tuple(errors)


def is_http_header_name(value: str) -> Messages:
    if _header(value):
        return ()
    text = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return (pattern_text(text, _HEADER, "X-Header-Name"),)


def is_percent(value: str) -> Messages:
    if _percent(value):
        return ()
    text = "a valid percent string must be a numeric string followed by an ending '%'"
    return (pattern_text(text, _PERCENT, "1%", "93%"),)


def is_http_path(value: str) -> Messages:
    return () if _http_path(value) else (pattern_text("Invalid path", _HTTP_PATH),)


def is_condition_reason(value: str) -> Messages:
    if _reason(value):
        return ()
    text = (
        "a condition reason must start with alphabetic character, optionally followed by a string "
        "of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'"
    )
    examples = ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")
    return (pattern_text(text, _REASON, *examples),)


@lru_cache(_REMEMBERED)
def is_port_name(value: str) -> Messages:
    """An IANA service name, as container and service ports carry it."""
    errors = [max_length(15, "characters")] if len(value) > 15 else []
    if not _port_name(value):
        text = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        errors.append(text)
    if not _letter(value):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return tuple(errors)


def is_port_number(value: int) -> Messages:
    return () if 1 <= value <= 65535 else (between(1, 65535),)


def is_path_segment(value: str, prefix: bool = False) -> Messages:
    """A name that can stand in a URL path; the least that every object's name must satisfy."""
    if not prefix and value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{c}'" for c in "/%" if c in value)


def _completed(name: str, prefix: bool) -> str:
    """A ``generateName`` as if its random suffix stood there: a dash at the end is then fine."""
    return name[:-2] + "a" if prefix and len(name) > 1 and name.endswith("-") else name


def dns_subdomain(name: str, prefix: bool = False) -> Messages:
    """The name rule of most kinds."""
    return is_dns1123_subdomain(_completed(name, prefix))


def long_name(name: str, prefix: bool = False) -> Messages:
    """The same rule in the words of kinds whose rules upstream declares rather than writes."""
    return is_dns1123_subdomain(_completed(name, prefix), "bytes")


def dns_label(name: str, prefix: bool = False) -> Messages:
    """The name rule of namespaces and others that become part of a DNS name."""
    return is_dns1123_label(_completed(name, prefix))


def dns_label_1035(name: str, prefix: bool = False) -> Messages:
    """The name rule that begins with a letter."""
    return is_dns1035_label(_completed(name, prefix))
