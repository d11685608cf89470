"""What a kind is: its names, verbs, subresources, columns and strategy, declared once as data.

A built-in kind is declared in its group's package; a CustomResourceDefinition builds the same
:class:`Kind` at run time, so the API server has one path for both. A kind is served under one or
more versions, each of which is a :class:`ServedKind`; objects are stored in one of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.api.errors import Obj
from kybern.api.kinds.strategy import Strategy
from kybern.api.resources import Resource

STANDARD_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)
CREATE_ONLY = ("create",)
READ_WRITE = ("get", "patch", "update")
CONNECT = ("create", "get")
PROXY = ("create", "delete", "get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a Table; ``value`` takes the object and the present as epoch seconds."""

    name: str
    value: Callable[[Obj, float], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Subresource:
    """``pods/log`` and the like. ``group`` and ``version`` are set where they differ from the
    parent's, as for ``scale``."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of object, whatever versions it is served under. Kinds compare by identity.

    ``versions`` are in order of preference. ``resource_prefix`` is the first part of an object's
    store key. ``selectable_fields`` are those beside ``metadata.name`` and ``metadata.namespace``;
    ``field_aliases`` maps an ``apiVersion`` to the names it uses instead of the stored ones.
    ``hashed_as`` is the group and version that the storage version hash in discovery is made of,
    where upstream's differs from the storage version. ``unselectable`` refuses a field selector
    of another ``name`` than the selectable fields. ``deprecations`` are the warnings of single
    versions, ``deprecation`` is that of all.
    """

    group: str
    kind: str
    plural: str
    namespaced: bool = True
    singular: str = ""
    versions: tuple[str, ...] = ("v1",)
    storage_version: str = ""
    also_served_as: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STANDARD_VERBS
    subresources: tuple[Subresource, ...] = ()
    selectable_fields: Mapping[str, Callable[[Obj], str]] = field(default_factory=dict)
    field_aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    strategy: Strategy = field(default_factory=Strategy)
    resource_prefix: str = ""
    hashed_as: str = ""
    deprecation: str = ""
    unselectable: str = "field label not supported: {name}"
    deprecations: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "singular", self.singular or self.kind.lower())
        object.__setattr__(self, "storage_version", self.storage_version or self.versions[0])
        prefix = self.resource_prefix or f"/registry/{self.plural}"
        object.__setattr__(self, "resource_prefix", prefix)

    @property
    def stored(self) -> bool:
        """Whether objects of this kind are kept; reviews and bindings are only answered."""
        return "list" in self.verbs and "create" in self.verbs

    @property
    def storage_api_version(self) -> str:
        """``apiVersion`` of stored objects."""
        return f"{self.group}/{self.storage_version}" if self.group else self.storage_version

    def key(self, namespace: str, name: str) -> str:
        """The store key of one object."""
        if self.namespaced:
            return f"{self.resource_prefix}/{namespace}/{name}"
        return f"{self.resource_prefix}/{name}"

    def served(self) -> tuple["ServedKind", ...]:
        """The kind under each of its versions, preferred first."""
        own = tuple(
            ServedKind(self, self.group, version, deprecation=self.deprecations.get(version, ""))
            for version in self.versions
        )
        others = (text.split("/") for text in self.also_served_as)
        return own + tuple(ServedKind(self, group, version) for group, version in others)

    def __repr__(self) -> str:
        return f"Kind({self.plural}.{self.group})" if self.group else f"Kind({self.plural})"


class ServedKind:
    """A kind under one group and version: what a URL names and a request body is written in."""

    __slots__ = ("columns", "deprecation", "group", "kind", "resource", "subresources", "version")

    def __init__(
        self,
        kind: Kind,
        group: str,
        version: str,
        *,
        columns: tuple[Column, ...] | None = None,
        subresources: tuple[Subresource, ...] | None = None,
        deprecation: str = "",
    ) -> None:
        self.kind = kind
        self.group = group
        self.version = version
        self.columns = kind.columns if columns is None else columns
        self.subresources = kind.subresources if subresources is None else subresources
        self.deprecation = deprecation or kind.deprecation
        self.resource = Resource(group, version, kind.plural, kind.kind, kind.namespaced)

    @property
    def api_version(self) -> str:
        return self.resource.api_version

    @property
    def strategy(self) -> Strategy:
        return self.kind.strategy

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)

    def selectable_field(self, name: str) -> str | None:
        """The stored name of a field that this version can select by, or None."""
        if name == "metadata.name" or (name == "metadata.namespace" and self.kind.namespaced):
            return name
        aliases = self.kind.field_aliases.get(self.api_version)
        if aliases is not None:
            return aliases.get(name)
        return name if name in self.kind.selectable_fields else None

    def to_storage(self, obj: Obj) -> Obj:
        """The object in the storage version; the same object if that is this version."""
        if self.api_version == self.kind.storage_api_version:
            return obj
        return self.kind.strategy.convert(obj, self.kind.storage_api_version)

    def from_storage(self, obj: Obj) -> Obj:
        """A stored object in this version; the same object if that is the storage version."""
        if self.api_version == self.kind.storage_api_version:
            return obj
        return self.kind.strategy.convert(obj, self.api_version)

    def __repr__(self) -> str:
        return f"ServedKind({self.api_version} {self.kind.kind})"


def status_of(kind: str) -> Subresource:
    """The ``status`` subresource of a kind."""
    return Subresource("status", kind, READ_WRITE)


SCALE = Subresource("scale", "Scale", READ_WRITE, "autoscaling", "v1")
