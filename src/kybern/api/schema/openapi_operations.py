"""The operations that a server offers on its kinds, as OpenAPI describes them in either version.

``openapi_v2`` and ``openapi_v3`` render what :func:`path_items` yields; the differences between the
two formats stay there. Everything is derived from the registry, so a kind that is declared is
published.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kybern.api.schema.definitions import definition, definition_of_kind

if TYPE_CHECKING:
    from kybern.api.kinds import ServedKind
    from kybern.api.kinds.kind import Subresource

Obj = dict[str, Any]

DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
PATCH = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
RESOURCE_LIST = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList"
STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
WATCH_EVENT = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"

PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)

PARAMETER_TYPES = {
    "allowWatchBookmarks": "boolean",
    "continue": "string",
    "dryRun": "string",
    "fieldManager": "string",
    "fieldSelector": "string",
    "fieldValidation": "string",
    "force": "boolean",
    "gracePeriodSeconds": "integer",
    "ignoreStoreReadErrorWithClusterBreakingPotential": "boolean",
    "labelSelector": "string",
    "limit": "integer",
    "orphanDependents": "boolean",
    "pretty": "string",
    "propagationPolicy": "string",
    "resourceVersion": "string",
    "resourceVersionMatch": "string",
    "sendInitialEvents": "boolean",
    "timeoutSeconds": "integer",
    "watch": "boolean",
    "container": "string",
    "command": "string",
    "follow": "boolean",
    "insecureSkipTLSVerifyBackend": "boolean",
    "limitBytes": "integer",
    "path": "string",
    "ports": "integer",
    "previous": "boolean",
    "sinceSeconds": "integer",
    "stderr": "boolean",
    "stdin": "boolean",
    "stdout": "boolean",
    "stream": "string",
    "tailLines": "integer",
    "timestamps": "boolean",
    "tty": "boolean",
}
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE = (
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
)
_DELETE_COLLECTION = tuple(sorted({*_DELETE, *_LIST} - {"allowWatchBookmarks", "watch"}))
_STREAM = ("command", "container", "stderr", "stdin", "stdout", "tty")
_CONNECT_PARAMETERS = {
    "attach": _STREAM[1:],
    "exec": _STREAM,
    "log": (
        "container",
        "follow",
        "insecureSkipTLSVerifyBackend",
        "limitBytes",
        "previous",
        "sinceSeconds",
        "stream",
        "tailLines",
        "timestamps",
    ),
    "portforward": ("ports",),
    "proxy": ("path",),
}
_METHODS = {"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}
_PHRASES = {
    "get": ("read", "read the specified"),
    "create": ("create", "create a"),
    "update": ("replace", "replace the specified"),
    "patch": ("patch", "partially update the specified"),
    "delete": ("delete", "delete a"),
}
_ACTIONS = {"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a path. ``body`` and ``response`` are names of definitions; a response of
    ``""`` is a plain string. ``streams`` marks lists, which may be watched."""

    method: str
    action: str
    description: str
    operation_id: str
    tag: str
    kind: tuple[str, str, str]
    response: str
    parameters: tuple[str, ...] = ()
    body: str = ""
    body_required: bool = True
    statuses: tuple[tuple[int, str], ...] = ((200, "OK"),)
    streams: bool = False


@dataclass(slots=True)
class PathItem:
    """A path with the parameters that all its operations share, in and outside the path."""

    path: str
    path_parameters: tuple[tuple[str, str], ...]
    parameters: tuple[str, ...] = ("pretty",)
    operations: list[Operation] = field(default_factory=list)


def patch_types(custom: bool) -> tuple[str, ...]:
    """The kinds of patches; kubectl asks here whether it may send a strategic merge patch."""
    return tuple(one for one in PATCH_TYPES if not (custom and "strategic" in one))


def is_custom(served: "ServedKind", custom: Mapping[tuple[str, str, str], Obj] | None) -> bool:
    """Whether a custom resource definition brought the kind."""
    return (served.group, served.version, served.kind.kind) in (custom or {})


def group_words(group: str) -> str:
    """A group as operation names begin: ``Core``, ``Apps``, ``RbacAuthorization``."""
    words = (group or "core").removesuffix(".k8s.io").replace("-", ".").split(".")
    return "".join(word[:1].upper() + word[1:] for word in words)


def tag(group: str, version: str = "") -> str:
    """The tag that groups operations: ``apps_v1``, ``rbacAuthorization_v1``."""
    words = group_words(group)
    name = words[0].lower() + words[1:]
    return f"{name}_{version}" if version else name


def base_path(group: str, version: str) -> str:
    """``/api/v1`` or ``/apis/group/version``."""
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def kind_definition(group: str, version: str, kind: str) -> str:
    """The definition's name of a kind; custom resources get theirs from group and version."""
    try:
        return definition_of_kind(group, version, kind)
    except KeyError:
        return ".".join([*reversed(group.split(".")), version, kind])


def list_definition(served: "ServedKind") -> str:
    """The definition's name of a kind's list."""
    return kind_definition(served.group, served.version, served.kind.kind) + "List"


def path_items(served: "ServedKind") -> Iterator[PathItem]:
    """Every path of one kind under one version, subresources included."""
    writer = _Writer(served)
    kind = served.kind
    base = base_path(served.group, served.version)
    scoped = f"{base}/namespaces/{{namespace}}" if kind.namespaced else base
    collection, item = f"{scoped}/{kind.plural}", f"{scoped}/{kind.plural}/{{name}}"
    if kind.namespaced and "list" in kind.verbs:
        yield PathItem(f"{base}/{kind.plural}", (), ("pretty", *_LIST), [writer.list_everywhere()])
    operations = writer.collection_operations()
    if operations:
        yield PathItem(collection, writer.namespace_parameter, operations=operations)
    operations = [writer.item_operation(verb) for verb in _METHODS if verb in kind.verbs]
    operations = [o for o in operations if o.method != "post"]
    if operations:
        yield PathItem(item, writer.item_parameters, operations=operations)
    for subresource in served.subresources:
        yield writer.subresource_item(f"{item}/{subresource.name}", subresource)


class _Writer:
    """Writes the operations of one served kind."""

    def __init__(self, served: "ServedKind") -> None:
        self._served = served
        self._kind = served.kind
        self._gvk = (served.group, served.version, served.kind.kind)
        self._definition = kind_definition(*self._gvk)
        self._tag = tag(served.group, served.version)
        self._scope = "Namespaced" if served.kind.namespaced else ""
        version = served.version[:1].upper() + served.version[1:]
        self._words = group_words(served.group) + version
        named = (("namespace", "object name and auth scope, such as for teams and projects"),)
        self.namespace_parameter = named if served.kind.namespaced else ()
        self.item_parameters = (
            ("name", f"name of the {served.kind.kind}"),
            *self.namespace_parameter,
        )

    def list_everywhere(self) -> Operation:
        """List across namespaces; its parameters stand at the path."""
        return self._list(f"list{self._words}{self._kind.kind}ForAllNamespaces", ())

    def _list(self, operation_id: str, parameters: tuple[str, ...]) -> Operation:
        return Operation(
            "get",
            "list",
            f"list or watch objects of kind {self._kind.kind}",
            operation_id,
            self._tag,
            self._gvk,
            list_definition(self._served),
            parameters,
            streams=True,
        )

    def collection_operations(self) -> list[Operation]:
        """List, create and delete a collection, as far as the kind has them."""
        kind, verbs = self._kind.kind, self._kind.verbs
        operations = []
        if "deletecollection" in verbs:
            operations.append(
                Operation(
                    "delete",
                    "deletecollection",
                    f"delete collection of {kind}",
                    f"delete{self._words}Collection{self._scope}{kind}",
                    self._tag,
                    self._gvk,
                    STATUS,
                    _DELETE_COLLECTION,
                    DELETE_OPTIONS,
                    body_required=False,
                )
            )
        if "list" in verbs:
            operations.append(self._list(f"list{self._words}{self._scope}{kind}", _LIST))
        if "create" in verbs:
            operations.append(self.item_operation("create"))
        return operations

    def item_operation(self, verb: str) -> Operation:
        """One verb on the object itself."""
        return self._operation(verb, self._kind.kind, self._gvk, self._definition, self._kind.kind)

    def _operation(
        self, verb: str, name: str, gvk: tuple[str, str, str], body: str, spoken: str
    ) -> Operation:
        prefix, phrase = _PHRASES[verb]
        parameters: tuple[str, ...] = ()
        statuses: tuple[tuple[int, str], ...] = ((200, "OK"),)
        response = body
        sent = ""
        if verb in ("create", "update", "patch"):
            parameters = (*_WRITE, "force") if verb == "patch" else _WRITE
            sent = PATCH if verb == "patch" else body
            statuses = ((200, "OK"), (201, "Created"))
            statuses += ((202, "Accepted"),) if verb == "create" else ()
        elif verb == "delete":
            parameters, sent, response = _DELETE, DELETE_OPTIONS, STATUS
            statuses = ((200, "OK"), (202, "Accepted"))
        return Operation(
            _METHODS[verb],
            _ACTIONS[verb],
            f"{phrase} {spoken}",
            f"{prefix}{self._words}{self._scope}{name}",
            self._tag,
            gvk,
            response,
            parameters,
            sent,
            verb != "delete",
            statuses,
        )

    def subresource_item(self, path: str, subresource: "Subresource") -> PathItem:
        """All verbs of a subresource."""
        words = subresource.name[:1].upper() + subresource.name[1:]
        name = f"{self._kind.kind}{words}"
        group, version = subresource.group, subresource.version
        if not version:
            group, version = self._served.group, self._served.version
        gvk = (group, version, subresource.kind)
        parameters = _CONNECT_PARAMETERS.get(subresource.name, ())
        item = PathItem(path, self.item_parameters, ("pretty", *parameters))
        for verb in subresource.verbs:
            if subresource.name in _CONNECT_PARAMETERS and subresource.name != "log":
                item.operations.append(self._connect(verb, name, subresource, gvk))
                continue
            spoken = f"{subresource.name} of the specified {self._kind.kind}"
            body = "" if subresource.name == "log" else kind_definition(*gvk)
            item.operations.append(self._operation(verb, name, gvk, body, spoken))
        return item

    def _connect(
        self, verb: str, name: str, subresource: "Subresource", gvk: tuple[str, str, str]
    ) -> Operation:
        method = _METHODS[verb]
        return Operation(
            method,
            "connect",
            f"connect {method.upper()} requests to {subresource.name} of {self._kind.kind}",
            f"connect{self._words}{method.capitalize()}{self._scope}{name}",
            self._tag,
            gvk,
            "",
        )


def is_known(name: str) -> bool:
    """Whether a definition of this name is built in."""
    try:
        definition(name)
    except KeyError:
        return False
    return True
