"""Judges the providers of a CredentialProviderConfig, with upstream's messages. Pure."""

import re
from collections.abc import Iterator, Sequence

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.names import is_qualified_name
from kybern.component.duration import go_duration

V1 = "credentialprovider.kubelet.k8s.io/v1"
API_VERSIONS = (V1, f"{V1}alpha1", f"{V1}beta1")
CACHE_TYPES = ("ServiceAccount", "Token")

_NAMES_REFUSED = (
    (lambda name: "/" in name, "provider name cannot contain '/'"),
    (lambda name: " " in name, "provider name cannot contain spaces"),
    (lambda name: name == ".", "provider name cannot be '.'"),
    (lambda name: name == "..", "provider name cannot be '..'"),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PORT = re.compile(r"(:\d*)?")
_ESCAPE = re.compile(r"%.{0,2}")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}")
_BAD_IN_HOST = re.compile(r"[\x00- {}|\\^`]")


def validate(providers: Sequence[Obj]) -> list[FieldError]:
    """What is wrong with providers that have the right types, their durations in seconds."""
    if not providers:
        return [required("providers", "at least 1 item in plugins is required")]
    return [error for provider in providers for error in _provider(provider)]


def _provider(provider: Obj) -> Iterator[FieldError]:
    name, version = provider.get("name", ""), provider.get("apiVersion", "")
    for refused, why in _NAMES_REFUSED:
        if refused(name):
            yield invalid_value("providers.name", name, why)
    if not version:
        yield required("providers.apiVersion")
    elif version not in API_VERSIONS:
        yield not_supported("providers.apiVersion", version, API_VERSIONS)
    path = "providers.matchImages"
    if not provider.get("matchImages"):
        yield required(path, "at least 1 item in matchImages is required")
    for pattern in provider.get("matchImages", ()):
        if why := _not_a_url(pattern):
            url = f"https://{pattern}"
            yield invalid_value(path, pattern, f'match image is invalid: parse "{url}": {why}')
    path, seconds = "providers.defaultCacheDuration", provider.get("defaultCacheDuration")
    if seconds is None:
        yield required(path)
    elif seconds < 0:
        yield invalid_value(path, go_duration(seconds), "must be greater than or equal to 0")
    if (attributes := provider.get("tokenAttributes")) is not None:
        yield from _attributes(attributes, version)


def _attributes(attributes: Obj, version: str) -> Iterator[FieldError]:
    path = "providers.tokenAttributes"
    if not attributes.get("serviceAccountTokenAudience"):
        yield required(f"{path}.serviceAccountTokenAudience")
    if "requireServiceAccount" not in attributes:
        yield required(f"{path}.requireServiceAccount")
    if version != V1:
        yield field_forbidden(path, f"tokenAttributes is only supported for {V1} API version")
    needed = attributes.get("requiredServiceAccountAnnotationKeys", [])
    wanted = attributes.get("optionalServiceAccountAnnotationKeys", [])
    if needed and attributes.get("requireServiceAccount") is False:
        yield field_forbidden(
            f"{path}.requiredServiceAccountAnnotationKeys",
            "requireServiceAccount cannot be false when "
            "requiredServiceAccountAnnotationKeys is set",
        )
    yield from _keys(needed, f"{path}.requiredServiceAccountAnnotationKeys")
    yield from _keys(wanted, f"{path}.optionalServiceAccountAnnotationKeys")
    if both := sorted(set(needed) & set(wanted)):
        yield invalid_value(path, both, "annotation keys cannot be both required and optional")
    cache_type = attributes.get("cacheType")
    if not cache_type:
        yield required(
            f"{path}.cacheType",
            "cacheType is required to be set when tokenAttributes is specified. "
            f"Supported values are: {', '.join(CACHE_TYPES)}",
        )
    elif cache_type not in CACHE_TYPES:
        yield not_supported(f"{path}.cacheType", cache_type, CACHE_TYPES)


def _keys(keys: Sequence[str], path: str) -> Iterator[FieldError]:
    for number, key in enumerate(keys):
        for why in is_qualified_name(key.lower()):
            yield invalid_value(path, key, why)
        if key in keys[:number]:
            yield duplicate(path, key)


def _not_a_url(place: str) -> str:
    """Why Go would not take this for a URL without its scheme; empty if it would."""
    if _CONTROL.search(place):
        return "net/url: invalid control character in URL"
    authority, _, path = re.split(r"[?#]", place, maxsplit=1)[0].partition("/")
    host = authority.rpartition("@")[2]
    if host.startswith("[") and "]" not in host:
        return "missing ']' in host"
    port = host.partition("]")[2] if host.startswith("[") else "".join(host.partition(":")[1:])
    if not _PORT.fullmatch(port):
        return f'invalid port "{port}" after host'
    if bad := _ESCAPE.search(host) or _BAD_ESCAPE.search(path):
        return f'invalid URL escape "{bad[0]}"'
    if bad := _BAD_IN_HOST.search(host):
        return f'invalid character "{bad[0]}" in host name'
    return ""
