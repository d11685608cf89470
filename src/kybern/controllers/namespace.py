"""Empties namespaces that are being deleted, then lets them go.

Pods go first and the rest waits for them (KEP-5080). Every namespaced resource that can be listed
and deleted is emptied; what remains is told in the namespace's conditions; when nothing remains,
the ``kubernetes`` finalizer is removed through the finalize subresource.
"""

from dataclasses import dataclass, field

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import NAMESPACES, PODS, Resource
from kybern.controllers import api_resources
from kybern.controllers.controller import Context, Controller

FINALIZER = "kubernetes"
MAX_WAIT_SECONDS = 15.0


@dataclass
class _Remains:
    """What one round could not remove: counts by resource and finalizer, and failures."""

    counts: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    discovery_failures: list[str] = field(default_factory=list)
    content_failures: list[str] = field(default_factory=list)
    wait_seconds: float = 0.0

    @property
    def empty(self) -> bool:
        return not (self.counts or self.discovery_failures or self.content_failures)


class NamespaceController(Controller):
    """Keyed by namespace; acts on those with a deletion timestamp."""

    name = "namespace-controller"
    account = "namespace-controller"
    workers = 10

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.watch(NAMESPACES)

    async def reconcile(self, key: str) -> float | None:
        namespace = self.namespaces.get(key)
        if namespace is None or not objects.is_deleting(namespace):
            return None
        if FINALIZER not in (objects.spec(namespace).get("finalizers") or ()):
            return None
        namespace = await self.client.get(NAMESPACES, key)
        if objects.status(namespace).get("phase") != "Terminating":
            namespace = objects.copy(namespace)
            namespace.setdefault("status", {})["phase"] = "Terminating"
            namespace = await self.client.update_status(NAMESPACES, namespace)
        remains = await self._empty(key)
        namespace = await self._tell(namespace, remains)
        if remains.empty:
            await self._finalize(namespace)
            return None
        return min(max(remains.wait_seconds / 2, 0.2), MAX_WAIT_SECONDS)

    async def _empty(self, name: str) -> _Remains:
        """Delete what is there, pods first."""
        remains = _Remains()
        served, stale = await api_resources.discover(self.client)
        remains.discovery_failures = stale
        deletable = [
            one for one in served if one.resource.namespaced and {"list", "delete"} <= one.verbs
        ]
        deletable.sort(key=lambda one: one.resource != PODS)
        for one in deletable:
            await self._empty_resource(name, one, remains)
            if one.resource == PODS and remains.counts:
                break
        return remains

    async def _empty_resource(
        self, name: str, served: api_resources.ServedResource, remains: _Remains
    ) -> None:
        resource = served.resource
        try:
            left, _ = await self.client.list_all(resource, name)
            if not left:
                return
            if "deletecollection" in served.verbs:
                policy = "Background"
                await self.client.delete_collection(resource, name, propagation_policy=policy)
            else:
                for obj in left:
                    await self._delete(resource, obj)
            left, _ = await self.client.list_all(resource, name)
        except StatusError as error:
            if error.code not in (404, 405):
                remains.content_failures.append(f"{resource.qualified}: {error.message}")
            return
        if left:
            _count(resource, left, remains)

    async def _delete(self, resource: Resource, obj: Obj) -> None:
        try:
            await self.client.delete(resource, objects.name(obj), objects.namespace(obj))
        except StatusError as error:
            if error.code != 404:
                raise

    async def _tell(self, namespace: Obj, remains: _Remains) -> Obj:
        """Write the five conditions that explain what deletion waits for."""
        told = objects.copy(namespace)
        now = self.clock.timestamp()
        changed = False
        for type_, failed, good, bad in _conditions(remains):
            reason, message = bad if failed else good
            changed |= objects.set_condition(
                told, type_, "True" if failed else "False", reason, message, now
            )
        if not changed:
            return namespace
        return await self.client.update_status(NAMESPACES, told)

    async def _finalize(self, namespace: Obj) -> None:
        spec = objects.spec(namespace)
        kept = [one for one in spec.get("finalizers") or () if one != FINALIZER]
        final = {**namespace, "spec": {**spec, "finalizers": kept}}
        try:
            await self.client.update(NAMESPACES, final, subresource="finalize")
        except StatusError as error:
            if error.code != 404:
                raise


def _count(resource: Resource, left: list[Obj], remains: _Remains) -> None:
    remains.counts[resource.plural + "." + resource.group] = len(left)
    for obj in left:
        for finalizer in objects.finalizers(obj):
            remains.finalizers[finalizer] = remains.finalizers.get(finalizer, 0) + 1
        grace = obj["metadata"].get("deletionGracePeriodSeconds") or 0
        remains.wait_seconds = max(remains.wait_seconds, grace)


def _conditions(
    remains: _Remains,
) -> list[tuple[str, bool, tuple[str, str], tuple[str, str]]]:
    """(type, failed, good reason and message, bad reason and message) in upstream's order."""
    some = "Some resources are remaining: " + ", ".join(
        f"{name} has {count} resource instances" for name, count in sorted(remains.counts.items())
    )
    held = "Some content in the namespace has finalizers remaining: " + ", ".join(
        f"{name} in {count} resource instances"
        for name, count in sorted(remains.finalizers.items())
    )
    discovery = "Discovery failed for some groups, " + ", ".join(remains.discovery_failures)
    content = "Failed to delete all resource types, " + ", ".join(remains.content_failures)
    return [
        (
            "NamespaceDeletionDiscoveryFailure",
            bool(remains.discovery_failures),
            ("ResourcesDiscovered", "All resources successfully discovered"),
            ("DiscoveryFailed", discovery),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ("GroupVersionParsingFailed", ""),
        ),
        (
            "NamespaceDeletionContentFailure",
            bool(remains.content_failures),
            (
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            ("ContentDeletionFailed", content),
        ),
        (
            "NamespaceContentRemaining",
            bool(remains.counts),
            ("ContentRemoved", "All content successfully removed"),
            ("SomeResourcesRemain", some),
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(remains.finalizers),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ("SomeFinalizersRemain", held),
        ),
    ]
