"""Bodies that are of another kind than the resource they were sent to, in upstream's words."""

from typing import Any

from kybern.api.schema.definitions import definition_of_kind

_SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_SCHEMES = {
    "apiextensions.k8s.io": "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55",
    "apiregistration.k8s.io": "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
}
_META_KINDS = ("Status", "List", "APIVersions", "APIGroup", "APIGroupList", "APIResourceList")
_NO_KIND = "couldn't get version/kind; json parse error: json: cannot unmarshal"
_GO_STRUCT = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)


def kind_problem(value: Any) -> str:
    """Why no apiVersion and kind can be read from a body; empty if they can."""
    if not isinstance(value, dict):
        return f"{_NO_KIND} {json_name(value)} into Go value of type {_GO_STRUCT}"
    for member in ("apiVersion", "kind"):
        found = value.get(member)
        if found is not None and not isinstance(found, str):
            name = json_name(found)
            return f"{_NO_KIND} {name} into Go struct field .{member} of type string"
    api_version = value.get("apiVersion") or ""
    if api_version.count("/") > 1:
        return f"unexpected GroupVersion string: {api_version}"
    return ""


def foreign_kind(group: str, version: str, kind: str, own_group: str, own_kind: str) -> str:
    """Why a kind cannot stand for another; empty if it is the same kind in another version."""
    api_version = f"{group}/{version}" if group else version
    if not _is_known(group, version, kind):
        scheme = _SCHEMES.get(own_group, _SCHEME)
        return f'no kind "{kind}" is registered for version "{api_version}" in scheme "{scheme}"'
    if (group, kind) == (own_group, own_kind):
        return ""
    package = own_group.partition(".")[0] or "core"
    return f"converting ({version}.{kind}) to ({package}.{own_kind}): unknown conversion"


def _is_known(group: str, version: str, kind: str) -> bool:
    """Whether any object or list is of this kind."""
    if (group, version) == ("", "v1") and kind in _META_KINDS:
        return True
    for name in (kind, kind.removesuffix("List")):
        try:
            definition_of_kind(group, version, name)
        except KeyError:
            continue
        return True
    return False


def json_name(value: Any) -> str:
    """What upstream's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
