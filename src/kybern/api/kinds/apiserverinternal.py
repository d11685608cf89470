"""StorageVersion: in which version each API server stores a resource, and which it can read."""

from kybern.api.errors import FieldError, Obj, duplicate, invalid_value, required
from kybern.api.kinds.columns import AGE, NAME, UNSET, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.fields import dns_subdomain, qualified_name
from kybern.api.validation.names import (
    Messages,
    is_dns1035_label,
    is_dns1123_subdomain,
    pattern_text,
)

_MOST_SHOWN = 3
_LABEL = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_TEXT = (
    "a DNS-1035 label, which must consist of lower case alphanumeric characters or '-', start "
    "with an alphabetic character, and end with an alphanumeric character"
)
_EMPTY = "must be non-empty"


def _name(name: str, prefix: bool) -> Messages:
    group, dot, resource = name.rpartition(".")
    if not dot:
        return ("name must be in the form of <group>.<resource>",)
    return (
        *(f"the group segment {text}" for text in is_dns1123_subdomain(group)),
        *(f"the resource segment {text}" for text in is_dns1035_label(resource)),
    )


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    status = new.get("status") or {}
    servers = status.get("storageVersions") or []
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, server in enumerate(servers):
        path, identity = f"status.storageVersions[{i}]", server.get("apiServerID", "")
        if identity in seen:
            errors.append(duplicate(f"{path}.apiServerID", identity))
        seen.add(identity)
        errors += _check_server(server, path)
    errors += _check_common(status.get("commonEncodingVersion"), servers)
    return errors + _check_conditions(status.get("conditions") or [])


def _check_server(server: Obj, path: str) -> list[FieldError]:
    errors = dns_subdomain(server.get("apiServerID", ""), f"{path}.apiServerID")
    encoding, decodable = server.get("encodingVersion", ""), server.get("decodableVersions") or []
    errors += _check_version(encoding, f"{path}.encodingVersion")
    for i, version in enumerate(decodable):
        errors += _check_version(version, f"{path}.decodableVersions[{i}]")
    if encoding not in decodable:
        text = f"decodableVersions must include encodingVersion {encoding}"
        errors.append(invalid_value(f"{path}.decodableVersions", decodable, text))
    for i, version in enumerate(server.get("servedVersions") or []):
        at_ = f"{path}.servedVersions[{i}]"
        errors += _check_version(version, at_)
        if version not in decodable:
            text = (
                f"individual served version : {version} must be included in decodableVersions : "
                f"[{' '.join(decodable)}]"
            )
            errors.append(invalid_value(at_, version, text))
    return errors


def _check_version(version: str, path: str) -> list[FieldError]:
    problems = _version_problems(version)
    return [invalid_value(path, version, ",".join(problems))] if problems else []


def _version_problems(text: str) -> list[str]:
    group, slash, version = text.rpartition("/")
    if "/" in group:
        problem = "an apiVersion is " + pattern_text(_LABEL_TEXT, _LABEL, "my-name", "abc-123")
        tail = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyVersion')"
        return [problem + tail]
    problems: list[str] = []
    if slash:
        found = is_dns1123_subdomain(group) if group else (_EMPTY,)
        problems += [f"group part: {problem}" for problem in found]
    found = is_dns1035_label(version) if version else (_EMPTY,)
    return problems + [f"version part: {problem}" for problem in found]


def _check_common(common: str | None, servers: list[Obj]) -> list[FieldError]:
    """The version that all servers encode in, which must be told where there is one."""
    path, encodings = "status.commonEncodingVersion", {s.get("encodingVersion") for s in servers}
    actual = encodings.pop() if len(encodings) == 1 else None
    if actual == common:
        return []
    if actual is None:
        text = (
            "should be nil if servers do not agree on the same encoding version, or if there is "
            "no server reporting the supported versions yet"
        )
    elif common is None:
        text = f"the common encoding version is {actual}"
    else:
        text = f"the actual common encoding version is {actual}"
    return [invalid_value(path, common, text)]


def _check_conditions(conditions: list[Obj]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: dict[str, int] = {}
    for i, condition in enumerate(conditions):
        path, kind = f"status[{i}]", condition.get("type", "")
        if kind in seen:
            text = "the type of the condition is not unique, it also appears in "
            text += f"conditions[{seen[kind]}]"
            errors.append(invalid_value(f"{path}.type", kind, text))
        seen[kind] = i
        errors += qualified_name(kind, f"{path}.type")
        errors += qualified_name(condition.get("status", ""), f"{path}.status")
        for name in ("reason", "message"):
            if not condition.get(name):
                errors.append(required(f"{path}.{name}"))
    return errors


def _servers(version: Obj, now: float) -> str:
    held = (version.get("status") or {}).get("storageVersions") or []
    shown = [f"{one.get('apiServerID')}={one.get('encodingVersion')}" for one in held]
    text = ",".join(shown[:_MOST_SHOWN])
    more = len(shown) - _MOST_SHOWN
    return f"{text} + {more} more..." if more > 0 else text


STORAGE_VERSION = Kind(
    group="internal.apiserver.k8s.io",
    kind="StorageVersion",
    plural="storageversions",
    versions=("v1alpha1",),
    namespaced=False,
    subresources=(status_of("StorageVersion"),),
    strategy=Strategy(
        name_rule=_name,
        create=lambda o: o.__setitem__("status", {}),
        check_status=_check_status,
        metadata_checks=0,
        status_metadata_checks=0,
        namespaced=False,
        status=True,
        resets={"status": (("metadata",), ("spec",))},
        allow_unconditional_update=False,
    ),
    columns=(
        NAME,
        Column("CommonEncodingVersion", at("status", "commonEncodingVersion", default=UNSET)),
        Column("StorageVersions", _servers),
        AGE,
    ),
)
