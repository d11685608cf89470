"""What admission judges: one write, before it is stored."""

from dataclasses import dataclass, field
from typing import Any

from kybern.api.errors import Obj, StatusError, forbidden
from kybern.api.kinds import ServedKind
from kybern.api.user import UserInfo
from kybern.apiserver.request_info import RequestInfo

CREATE = "CREATE"
UPDATE = "UPDATE"
DELETE = "DELETE"
CONNECT = "CONNECT"


@dataclass(slots=True)
class AdmissionAttributes:
    """A write on its way. ``object`` may be changed in place by mutating plugins; ``old_object``
    is read-only. Both are in the storage version, except for the bodies of subresources of another
    kind (a Binding, an Eviction). ``warnings`` collects texts of Warning headers.
    """

    info: RequestInfo
    user: UserInfo
    operation: str
    kind: ServedKind
    object: Obj | None
    old_object: Obj | None = None
    dry_run: bool = False
    options: Any = None
    warnings: list[str] = field(default_factory=list)

    @property
    def group(self) -> str:
        return self.info.group

    @property
    def resource(self) -> str:
        return self.info.resource

    @property
    def subresource(self) -> str:
        return self.info.subresource

    @property
    def namespace(self) -> str:
        """The namespace of the object; empty for cluster-scoped kinds."""
        return self.info.namespace if self.kind.kind.namespaced else ""

    @property
    def name(self) -> str:
        """The name in the path or in the object; empty where it is still to be generated."""
        name = self.info.name
        if not name and self.object is not None:
            name = (self.object.get("metadata") or {}).get("name", "")
        return name

    def forbid(self, why: str) -> StatusError:
        """The 403 of a plugin that refuses the write."""
        name = self.name
        if not name:
            metadata = (self.object or {}).get("metadata") or {}
            name = metadata.get("generateName") or "Unknown"
        return forbidden(self.resource, name, why, self.group)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
