"""The syntax of label keys and values, and of DNS names inside them, with upstream's complaints.

Selectors and validation ask here; an empty list means that the text is fine.
"""

import re
from functools import lru_cache

_NAME_FORM = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_NAME = re.compile(_NAME_FORM)
_VALUE_FORM = f"({_NAME_FORM})?"
_VALUE = re.compile(_VALUE_FORM)
_LABEL_FORM = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_FORM = rf"{_LABEL_FORM}(\.{_LABEL_FORM})*"
_SUBDOMAIN = re.compile(_SUBDOMAIN_FORM)

_CHARACTERS = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_NAME_PROBLEM = (
    f"{_CHARACTERS} (e.g. 'MyName',  or 'my.name',  or '123-abc', "
    f"regex used for validation is '{_NAME_FORM}')"
)
_VALUE_PROBLEM = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character "
    "(e.g. 'MyValue',  or 'my_value',  or '12345', "
    f"regex used for validation is '{_VALUE_FORM}')"
)
_SUBDOMAIN_PROBLEM = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', "
    f"regex used for validation is '{_SUBDOMAIN_FORM}')"
)


@lru_cache(maxsize=4096)
def _key_problems(key: str) -> tuple[str, ...]:
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        subdomain = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return (f"a valid label key {_NAME_PROBLEM} {subdomain}",)
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in dns_subdomain_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not _NAME.fullmatch(name):
        problems.append(f"name part {_NAME_PROBLEM}")
    return tuple(problems)


def label_key_problems(key: str) -> list[str]:
    """What is wrong with a label key (``name`` or ``dns.prefix/name``)."""
    return list(_key_problems(key))


@lru_cache(maxsize=4096)
def _value_problems(value: str) -> tuple[str, ...]:
    problems = []
    if len(value.encode()) > 63:
        problems.append("must be no more than 63 bytes")
    if not _VALUE.fullmatch(value):
        problems.append(_VALUE_PROBLEM)
    return tuple(problems)


def label_value_problems(value: str) -> list[str]:
    """What is wrong with a label value."""
    return list(_value_problems(value))


def dns_subdomain_problems(name: str) -> list[str]:
    """What is wrong with a DNS subdomain (RFC 1123)."""
    problems = []
    if len(name.encode()) > 253:
        problems.append("must be no more than 253 bytes")
    if not _SUBDOMAIN.fullmatch(name):
        problems.append(_SUBDOMAIN_PROBLEM)
    return problems
