"""One API call on its way, and the services of the server that it uses.

The pipeline makes a :class:`Call` for every resource request after authorization and hands it to a
verb. A call belongs to one request; the :class:`Services` are shared by all calls of a server.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from kybern.api.errors import Obj, StatusError, not_found
from kybern.api.kinds import Kind, Registry, ServedKind
from kybern.api.protobuf import has_form
from kybern.api.schema import TypeSchema, schema_for
from kybern.api.user import UserInfo
from kybern.apiserver.admission import AdmissionAttributes, AdmissionChain
from kybern.apiserver.allocation import Allocator
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.backends.kubelets import Kubelets
from kybern.apiserver.cache import CacheSet, ResourceCache
from kybern.apiserver.negotiation import Output
from kybern.apiserver.request_info import RequestInfo
from kybern.component.clock import Clock
from kybern.component.http.messages import Request

Schemas = dict[tuple[str, str, str], TypeSchema]
Review = Callable[["Call", Obj], Awaitable[Obj]]
TokenRequests = Callable[["Call", str, Obj], Awaitable[Obj]]
OnDemand = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where an object keeps its replicas and its selector; ``selector`` may be empty."""

    spec: tuple[str, ...] = ("spec", "replicas")
    status: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")


@dataclass
class Services:
    """What every verb of one server stands on.

    ``custom_schemas`` and ``scale_paths`` hold what custom resources declare, by group, version
    and kind. ``reviews`` answers kinds that are never stored (TokenReview, SubjectAccessReview)
    by their kind; ``token_requests`` signs a token for the named service account;
    ``allocators`` take what objects own beside themselves, by group and plural; ``on_demand``
    sees to it that an object is there before it is read, by group, version and plural.
    """

    registry: Registry
    caches: CacheSet
    clock: Clock
    authorizers: Authorizers
    admission: AdmissionChain
    custom_schemas: Schemas = field(default_factory=dict)
    scale_paths: dict[tuple[str, str, str], ScalePaths] = field(default_factory=dict)
    reviews: Mapping[str, Review] = field(default_factory=dict)
    token_requests: TokenRequests | None = None
    kubelets: Kubelets = field(default_factory=Kubelets)
    allocators: Mapping[tuple[str, str], Allocator] = field(default_factory=dict)
    on_demand: Mapping[tuple[str, str, str], OnDemand] = field(default_factory=dict)

    def schema(self, group: str, version: str, kind: str) -> TypeSchema:
        """The schema of a served version; raises KeyError for kinds that have none."""
        custom = self.custom_schemas.get((group, version, kind))
        return custom if custom is not None else schema_for(group, version, kind)

    def is_custom(self, served: ServedKind) -> bool:
        """Whether a CustomResourceDefinition made this kind."""
        return (served.group, served.version, served.kind.kind) in self.custom_schemas

    def has_protobuf(self, served: ServedKind) -> bool:
        """Whether objects of this kind can be written in protobuf."""
        return has_form(served.api_version, served.kind.kind) and not self.is_custom(served)

    def storage_schema(self, kind: Kind) -> TypeSchema:
        """The schema of the version in which a kind is stored."""
        return self.schema(kind.group, kind.storage_version, kind.kind)


@dataclass(slots=True)
class Call:
    """A classified, authenticated and authorized request for a resource.

    ``warnings`` collects the texts of Warning headers; verbs append, the pipeline sends them.
    """

    services: Services
    request: Request
    info: RequestInfo
    user: UserInfo
    served: ServedKind
    output: Output
    warnings: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        return self.served.kind

    @property
    def cache(self) -> ResourceCache:
        """The cache of the stored objects of this kind."""
        return self.services.caches.cache(self.served.kind)

    @property
    def schema(self) -> TypeSchema:
        """The schema of the version that the URL names."""
        return self.services.schema(self.served.group, self.served.version, self.kind.kind)

    @property
    def is_custom(self) -> bool:
        """Whether a CustomResourceDefinition made this kind."""
        return self.services.is_custom(self.served)

    @property
    def namespace(self) -> str:
        """The namespace that objects of this call belong to; empty for cluster-scoped kinds."""
        return self.info.namespace if self.kind.namespaced else ""

    def key(self, name: str) -> str:
        """The store key of an object of this kind in the namespace of the call."""
        return self.kind.key(self.namespace, name)

    def stamp(self, obj: Obj) -> None:
        """Fill in the times that are defaults of the kind; those that are there stay."""
        if self.kind.strategy.stamp is not None:
            self.kind.strategy.stamp(obj, self.services.clock.timestamp())

    def not_found(self, name: str) -> StatusError:
        return not_found(self.info.resource, name, self.info.group)

    def warn(self, text: str) -> None:
        """Send a Warning header, once per text."""
        if text not in self.warnings:
            self.warnings.append(text)

    def attributes(
        self, operation: str, obj: Obj | None, old: Obj | None, options: object, dry_run: bool
    ) -> AdmissionAttributes:
        """What admission judges."""
        return AdmissionAttributes(
            self.info, self.user, operation, self.served, obj, old, dry_run, options, self.warnings
        )
