"""Garbage collector: deletes objects whose owners are gone, and carries out deletion policies.

Watches the metadata of every resource that can be deleted (found by discovery, looked at again
every 30 seconds) and keeps ``owner_graph.py``. Each decision asks the API server for the object
and its owners first: the graph only says where to look. Background: a dependent without living
owners is deleted. Foreground: the owner waits for its blocking dependents. Orphan: dependents lose
the reference, then the owner goes.
"""

from functools import partial

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import Resource
from kybern.client import Informer
from kybern.controllers import api_resources
from kybern.controllers.controller import Context, Controller
from kybern.controllers.owner_graph import FOREGROUND, ORPHAN, Node, OwnerGraph

REDISCOVERY_SECONDS = 30.0
DISCOVER = "discover"
# Events are hints without owners, and by far the most numerous objects.
IGNORED = frozenset({("", "events"), ("events.k8s.io", "events")})


class GarbageCollector(Controller):
    """Keyed by uid; the key ``discover`` looks for new resources."""

    name = "garbage-collector-controller"
    account = "generic-garbage-collector"
    workers = 20

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.recorder = context.recorder(self.client, self.name)
        self.graph = OwnerGraph()
        self.watched: dict[Resource, Informer] = {}
        self.served: dict[tuple[str, str], Resource] = {}
        self.queue.add(DISCOVER)

    async def reconcile(self, key: str) -> float | None:
        if key == DISCOVER:
            await self._discover()
            return REDISCOVERY_SECONDS
        node = self.graph.get(key)
        if node is None:
            return None
        if not node.observed:
            await self._check_virtual(node)
        elif node.orphaning:
            await self._orphan(node)
        elif node.waiting_for_dependents:
            await self._await_dependents(node)
        elif not node.deleting:
            await self._collect(node)
        return None

    async def _discover(self) -> None:
        """Watch what can be deleted; forget resources that are no longer served."""
        found, _ = await api_resources.discover(self.client)
        wanted = {
            one.resource
            for one in found
            if {"list", "watch", "delete"} <= one.verbs
            and (one.resource.group, one.resource.plural) not in IGNORED
        }
        self.served = {(one.resource.api_version, one.resource.kind): one.resource for one in found}
        for resource in sorted(wanted - set(self.watched)):
            informer = self.context.informers.informer(resource, metadata_only=True)
            self.watched[resource] = informer
            informer.on_change(partial(self._change, resource))
        for resource in sorted(set(self.watched) - wanted):
            await self.context.informers.forget(self.watched.pop(resource))
        await self.context.informers.start()

    def _change(self, resource: Resource, old: Obj | None, new: Obj | None) -> None:
        if new is not None:
            if old is not None and objects.uid(old) != objects.uid(new):
                self._enqueue(self.graph.forget(objects.uid(old)))
            self._enqueue(self.graph.observe(resource, new))
        elif old is not None:
            self._enqueue(self.graph.forget(objects.uid(old)))

    def _enqueue(self, nodes: list[Node]) -> None:
        for node in nodes:
            self.queue.add(node.uid)

    async def _live(self, node: Node) -> Obj | None:
        """The object as the server has it now; None if it or its uid is gone."""
        if node.resource is None:
            return None
        try:
            obj = await self.client.get(node.resource, node.name, node.namespace or None)
        except StatusError as error:
            if error.code == 404:
                return None
            raise
        return obj if objects.uid(obj) == node.uid else None

    async def _check_virtual(self, node: Node) -> None:
        """An owner that no watch has shown: does it exist at all?"""
        exists = await self._owner_exists(node.api_version, node.kind, node.name, node.namespace)
        if exists is None or objects.uid(exists) != node.uid:
            self._enqueue(list(node.dependents.values()))

    async def _owner_exists(self, version: str, kind: str, name: str, namespace: str) -> Obj | None:
        resource = self.served.get((version, kind))
        if resource is None:
            found, _ = await api_resources.discover(self.client)
            known = {(one.resource.api_version, one.resource.kind): one.resource for one in found}
            resource = known.get((version, kind))
            if resource is None:
                raise StatusError(404, "NotFound", f"no resource serves {version} {kind}")
        if resource.namespaced and not namespace:
            return None
        try:
            return await self.client.get(resource, name, namespace or None)
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def _collect(self, node: Node) -> None:
        """Delete the object if no owner is left, or drop the references to those that are not."""
        latest = await self._live(node)
        if latest is None:
            self._enqueue(self.graph.forget(node.uid))
            return
        owners = objects.owner_references(latest)
        if not owners or objects.is_deleting(latest):
            return
        solid, waiting, dangling = await self._classify(node, owners)
        if solid:
            stale = {owner["uid"] for owner in (*dangling, *waiting)}
            if stale:
                await self._drop_owners(node, latest, stale)
            return
        if waiting and node.dependents:
            if any(one.waiting_for_dependents for one in node.dependents.values()):
                await self._unblock(node, latest)
            await self._delete(node, latest, "Foreground")
            return
        await self._delete(node, latest, _policy(latest))
        return

    async def _classify(
        self, node: Node, owners: list[Obj]
    ) -> tuple[list[Obj], list[Obj], list[Obj]]:
        """Owners that live, that wait for this object's deletion, and that are gone."""
        solid: list[Obj] = []
        waiting: list[Obj] = []
        dangling: list[Obj] = []
        for owner in owners:
            live = await self._owner_exists(
                owner["apiVersion"], owner["kind"], owner["name"], node.namespace
            )
            if live is None or objects.uid(live) != owner["uid"]:
                dangling.append(owner)
                self._report_elsewhere(node, owner)
            elif objects.is_deleting(live) and FOREGROUND in objects.finalizers(live):
                (waiting if owner.get("blockOwnerDeletion") else solid).append(owner)
            else:
                solid.append(owner)
        return solid, waiting, dangling

    def _report_elsewhere(self, node: Node, owner: Obj) -> None:
        """Tell of a reference to an object of another namespace: owners live in one's own."""
        known = self.graph.get(owner["uid"])
        if known is None or not known.is_elsewhere(node):
            return
        meta = {"name": node.name, "namespace": node.namespace, "uid": node.uid}
        subject = {"apiVersion": node.api_version, "kind": node.kind, "metadata": meta}
        reference = (
            f"[{owner['apiVersion']}/{owner['kind']}, namespace: {node.namespace},"
            f" name: {owner['name']}, uid: {owner['uid']}]"
        )
        text = f'ownerRef {reference} does not exist in namespace "{node.namespace}"'
        self.recorder.event(subject, "Warning", "OwnerRefInvalidNamespace", text)

    async def _await_dependents(self, node: Node) -> None:
        """Foreground deletion: the finalizer goes when no blocking dependent is left."""
        blocking = node.blocking_dependents()
        if blocking:
            self._enqueue([one for one in blocking if not one.deleting])
            return
        latest = await self._live(node)
        if latest is not None:
            await self._drop_finalizer(node, latest, FOREGROUND)

    async def _orphan(self, node: Node) -> None:
        """Orphan deletion: dependents lose the reference before the owner goes."""
        for dependent in list(node.dependents.values()):
            latest = await self._live(dependent)
            if latest is not None:
                await self._drop_owners(dependent, latest, {node.uid})
        latest = await self._live(node)
        if latest is not None:
            await self._drop_finalizer(node, latest, ORPHAN)

    async def _drop_owners(self, node: Node, latest: Obj, gone: set[str]) -> None:
        kept = [one for one in objects.owner_references(latest) if one["uid"] not in gone]
        if len(kept) != len(objects.owner_references(latest)):
            await self._patch(node, latest, {"ownerReferences": kept or None})

    async def _unblock(self, node: Node, latest: Obj) -> None:
        """A cycle of foreground deletions would wait for itself: stop blocking the owners."""
        owners = [{**one, "blockOwnerDeletion": False} for one in objects.owner_references(latest)]
        await self._patch(node, latest, {"ownerReferences": owners})

    async def _drop_finalizer(self, node: Node, latest: Obj, finalizer: str) -> None:
        held = objects.finalizers(latest)
        if finalizer in held:
            kept = [one for one in held if one != finalizer]
            await self._patch(node, latest, {"finalizers": kept or None})

    async def _patch(self, node: Node, latest: Obj, meta: Obj) -> None:
        """A merge patch, guarded by the revision that the decision rests on."""
        assert node.resource is not None
        guarded = {**meta, "resourceVersion": objects.resource_version(latest)}
        patch = {"metadata": guarded}
        await self.client.patch(node.resource, node.name, patch, node.namespace or None)

    async def _delete(self, node: Node, latest: Obj, policy: str) -> None:
        assert node.resource is not None
        try:
            await self.client.delete(
                node.resource,
                node.name,
                node.namespace or None,
                propagation_policy=policy,
                uid=node.uid,
                resource_version=objects.resource_version(latest),
            )
        except StatusError as error:
            if error.code != 404:
                raise
            self._enqueue(self.graph.forget(node.uid))


def _policy(obj: Obj) -> str:
    """What the object's own finalizers ask for; background otherwise."""
    finalizers = objects.finalizers(obj)
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"
