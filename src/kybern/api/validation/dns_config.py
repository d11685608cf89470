"""Validation of a pod's DNS settings."""

import re

from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.validation.addresses import ip
from kybern.api.validation.names import max_length, pattern_text

DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 32
_MAX_SEARCH_LENGTH = 2048
_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH = _LABEL + r"(\." + _LABEL + ")*"
_search = re.compile(_SEARCH).fullmatch


def dns_config(config: Obj | None, policy: str, path: str) -> list[FieldError]:
    """``spec.dnsConfig``; the policy None needs at least one server."""
    if policy == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.nameservers", text)]
    if config is None:
        return []
    errors: list[FieldError] = []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > _MAX_NAMESERVERS:
        text = f"must not have more than {_MAX_NAMESERVERS} nameservers"
        errors.append(invalid_value(f"{path}.nameservers", servers, text))
    for i, server in enumerate(servers):
        errors += ip(server, f"{path}.nameservers[{i}]")
    if len(searches) > _MAX_SEARCHES:
        text = f"must not have more than {_MAX_SEARCHES} search paths"
        errors.append(invalid_value(f"{path}.searches", searches, text))
    if len(" ".join(searches)) > _MAX_SEARCH_LENGTH:
        text = f"must not have more than {_MAX_SEARCH_LENGTH} characters (including spaces) in "
        errors.append(invalid_value(f"{path}.searches", searches, text + "the search list"))
    for i, search in enumerate(searches):
        if search != ".":
            errors += _domain(search.removesuffix("."), f"{path}.searches[{i}]")
    for i, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{i}]", "must not be empty"))
    return errors


def _domain(text: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(text) > 253:
        errors.append(invalid_value(path, text, max_length(253, "characters")))
    if not _search(text):
        message = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'_', '-' or '.', and must start and end with an alphanumeric character"
        )
        errors.append(invalid_value(path, text, pattern_text(message, _SEARCH, "example.com")))
    return errors
