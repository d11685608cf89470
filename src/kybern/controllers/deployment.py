"""Deployments: rolls a new pod template out over ReplicaSets, and back.

One ReplicaSet a template. A rolling update grows the newest and shrinks the others within
``maxSurge`` and ``maxUnavailable`` (the sums are in ``rollout.py``, the status in
``deployment_status.py``); ``Recreate`` empties the others first. Annotations on the sets keep the
revision numbers that ``rollout undo`` reads.
"""

from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from kybern.api.selectors import LabelSelector
from kybern.controllers import deployment_status, rollout
from kybern.controllers.controller import Context, Controller, owner_key
from kybern.controllers.replicas import controller_uids

UNLIMITED_HISTORY = 2**31 - 1


class DeploymentController(Controller):
    """Keyed by Deployment."""

    name = "deployment-controller"
    account = "deployment-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.deployments = self.watch(DEPLOYMENTS)
        self.sets = self.watch(REPLICA_SETS, owner_key("Deployment"))
        self.sets.add_index("controller", controller_uids)
        self.sets.on_change(self._wake_for_orphan)
        self.pods = self.read(PODS)
        self.pods.add_index("controller", controller_uids)
        self.pods.on_change(self._wake_for_last_pod)
        self.recorder = context.recorder(self.client, self.name)

    def _wake_for_orphan(self, old: Obj | None, new: Obj | None) -> None:
        if new is None or objects.controller_of(new) is not None:
            return
        for deployment in self.deployments.list(objects.namespace(new)):
            if _selector(deployment).matches(objects.labels(new)):
                self.queue.add(objects.key(deployment))

    def _wake_for_last_pod(self, old: Obj | None, new: Obj | None) -> None:
        """A Recreate rollout goes on once the last old pod is gone."""
        if old is None or new is not None:
            return
        controller = objects.controller_of(old)
        if controller is None or controller["kind"] != "ReplicaSet":
            return
        owner = self.sets.get(f"{objects.namespace(old)}/{controller['name']}")
        for key in owner_key("Deployment")(owner) if owner is not None else ():
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        held = self.deployments.get(key)
        if held is None:
            return None
        deployment = objects.copy(held)
        sets = await self._claim(deployment)
        if objects.is_deleting(deployment):
            return await self._finish(deployment, sets, rollout.find_new(deployment, sets))
        deployment_status.note_pause(deployment, self.clock)
        if deployment["spec"].get("paused") or rollout.is_scaled(deployment, sets):
            return await self._resize(deployment, sets)
        if rollout.is_rolling(deployment):
            return await self._roll(deployment, sets)
        return await self._recreate(deployment, sets)

    async def _claim(self, deployment: Obj) -> list[Obj]:
        """The Deployment's sets; matching orphans are adopted, others released."""
        selector = _selector(deployment)
        owned = self.sets.by_index("controller", objects.uid(deployment))
        if objects.is_deleting(deployment):
            return owned
        claimed = [one for one in owned if selector.matches(objects.labels(one))]
        for one in owned:
            if not selector.matches(objects.labels(one)):
                gone = {"$patch": "delete", "uid": objects.uid(deployment)}
                await self._patch_owner(one, gone)
        for one in self.sets.list(objects.namespace(deployment)):
            orphan = objects.controller_of(one) is None and not objects.is_deleting(one)
            if orphan and selector.matches(objects.labels(one)):
                reference = objects.controller_reference(deployment)
                claimed.append(await self._patch_owner(one, reference))
        return claimed

    async def _patch_owner(self, one: Obj, reference: Obj) -> Obj:
        meta = {"ownerReferences": [reference], "uid": objects.uid(one)}
        name, namespace = objects.name(one), objects.namespace(one)
        patch = {"metadata": meta}
        patched = await self.client.patch(REPLICA_SETS, name, patch, namespace, kind="strategic")
        await self.sets.reached(objects.resource_version(patched))
        return patched

    async def _resize(self, deployment: Obj, sets: list[Obj]) -> float | None:
        """The Deployment was scaled or is paused: sizes change, templates do not."""
        new = rollout.find_new(deployment, sets)
        if new is not None:
            new = await self._note_revision(deployment, new, sets)
        active = [one for one in sets if rollout.replicas(one) > 0]
        lone = active[0] if len(active) == 1 else (new if not active else None)
        if lone is not None:
            await self._scale(deployment, lone, rollout.replicas(deployment))
        elif rollout.is_saturated(deployment, new):
            for one in active:
                if new is not None and objects.uid(one) != objects.uid(new):
                    await self._scale(deployment, one, 0)
        elif rollout.is_rolling(deployment):
            sizes = rollout.proportional_sizes(deployment, sets)
            for one in active:
                await self._scale(deployment, one, sizes[objects.name(one)])
        return await self._finish(deployment, sets, new)

    async def _roll(self, deployment: Obj, sets: list[Obj]) -> float | None:
        new, sets = await self._ensure_new(deployment, sets)
        size = rollout.replicas(new)
        wanted = rollout.new_set_size(deployment, sets, size)
        if size > rollout.replicas(deployment):
            wanted = rollout.replicas(deployment)
        if await self._scale(deployment, new, wanted):
            return await self._finish(deployment, sets, new)
        old = [one for one in sets if objects.uid(one) != objects.uid(new)]
        smaller = rollout.old_set_sizes(deployment, sets, old, new)
        for one in old:
            if objects.name(one) in smaller:
                await self._scale(deployment, one, smaller[objects.name(one)])
        return await self._finish(deployment, sets, new)

    async def _recreate(self, deployment: Obj, sets: list[Obj]) -> float | None:
        new = rollout.find_new(deployment, sets)
        old = [one for one in sets if new is None or objects.uid(one) != objects.uid(new)]
        scaled = [await self._scale(deployment, one, 0) for one in old if rollout.replicas(one)]
        if any(scaled) or any(self._has_live_pods(one) for one in old):
            return await self._finish(deployment, sets, new)
        new, sets = await self._ensure_new(deployment, sets)
        await self._scale(deployment, new, rollout.replicas(deployment))
        return await self._finish(deployment, sets, new)

    def _has_live_pods(self, one: Obj) -> bool:
        pods = self.pods.by_index("controller", objects.uid(one))
        return any(not objects.is_pod_terminal(pod) for pod in pods)

    async def _ensure_new(self, deployment: Obj, sets: list[Obj]) -> tuple[Obj, list[Obj]]:
        """The set of the current template, created if it is missing, with its revision noted."""
        new = rollout.find_new(deployment, sets)
        if new is None:
            new = await self._create(deployment, sets)
            sets = [*sets, new]
        else:
            new = await self._note_revision(deployment, new, sets)
            sets = [new if objects.uid(one) == objects.uid(new) else one for one in sets]
        return new, sets

    async def _create(self, deployment: Obj, sets: list[Obj]) -> Obj:
        collisions = objects.status(deployment).get("collisionCount", 0)
        template = objects.copy(deployment["spec"]["template"])
        hashed = rollout.template_hash(template, collisions)
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels[rollout.HASH_LABEL] = hashed
        selector = objects.copy(deployment["spec"]["selector"])
        selector.setdefault("matchLabels", {})[rollout.HASH_LABEL] = hashed
        revision = str(max((rollout.revision_of(one) for one in sets), default=0) + 1)
        size = rollout.new_set_size(deployment, sets, 0)
        replica_set = {
            "metadata": {
                "name": f"{objects.name(deployment)}-{hashed}",
                "namespace": objects.namespace(deployment),
                "labels": labels,
                "annotations": {
                    **_inherited_annotations(deployment),
                    **_size_annotations(deployment),
                    rollout.REVISION: revision,
                },
                "ownerReferences": [objects.controller_reference(deployment)],
            },
            "spec": {"replicas": size, "selector": selector, "template": template},
        }
        if deployment["spec"].get("minReadySeconds"):
            replica_set["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        created = await self._create_or_find(deployment, replica_set)
        await self.sets.reached(objects.resource_version(created))
        name = objects.name(created)
        if size > 0:
            text = f"Scaled up replica set {name} from 0 to {size}"
            self.recorder.event(deployment, "Normal", "ScalingReplicaSet", text)
        deployment_status.note_new_set(deployment, name, True, self.clock)
        await self._write_revision(deployment, revision)
        return created

    async def _create_or_find(self, deployment: Obj, replica_set: Obj) -> Obj:
        try:
            return await self.client.create(REPLICA_SETS, replica_set)
        except StatusError as error:
            if error.reason == "AlreadyExists":
                return await self._resolve_collision(deployment, replica_set, error)
            text = f'Failed to create new replica set "{objects.name(replica_set)}": {error}'
            deployment_status.note_failure(deployment, text, self.clock)
            await self._write_status(deployment, deployment["status"])
            self.recorder.event(deployment, "Warning", "ReplicaSetCreateError", text)
            raise

    async def _resolve_collision(self, deployment: Obj, wanted: Obj, error: StatusError) -> Obj:
        """The name is taken: by our own set of the same template, or the hash collides."""
        name, namespace = objects.name(wanted), objects.namespace(wanted)
        found = await self.client.get(REPLICA_SETS, name, namespace)
        ours = objects.is_controlled_by(found, deployment)
        if ours and rollout.same_template(found, deployment):
            return found
        status = deployment.setdefault("status", {})
        status["collisionCount"] = status.get("collisionCount", 0) + 1
        await self._write_status(deployment, status)
        raise error

    async def _note_revision(self, deployment: Obj, new: Obj, sets: list[Obj]) -> Obj:
        """Give the current set the highest revision, and the Deployment the same."""
        others = [one for one in sets if objects.uid(one) != objects.uid(new)]
        highest = max((rollout.revision_of(one) for one in others), default=0)
        held = rollout.revision_of(new)
        annotations = {
            **objects.annotations(new),
            **_inherited_annotations(deployment),
            **_size_annotations(deployment),
        }
        revision = max(held, highest + 1)
        if revision > held:
            annotations[rollout.REVISION] = str(revision)
            if held:
                history = annotations.get(rollout.REVISION_HISTORY, "")
                past = [*filter(None, history.split(",")), str(held)]
                annotations[rollout.REVISION_HISTORY] = ",".join(past)
        delay = deployment["spec"].get("minReadySeconds", 0)
        if (
            annotations != objects.annotations(new)
            or new["spec"].get("minReadySeconds", 0) != delay
        ):
            meta = {**new["metadata"], "annotations": annotations}
            spec = {**new["spec"], "minReadySeconds": delay}
            new = await self.client.update(REPLICA_SETS, {**new, "metadata": meta, "spec": spec})
            await self.sets.reached(objects.resource_version(new))
        deployment_status.note_new_set(deployment, objects.name(new), False, self.clock)
        await self._write_revision(deployment, str(revision))
        return new

    async def _write_revision(self, deployment: Obj, revision: str) -> None:
        if objects.annotations(deployment).get(rollout.REVISION) == revision:
            return
        annotations = {**objects.annotations(deployment), rollout.REVISION: revision}
        deployment["metadata"] = {**deployment["metadata"], "annotations": annotations}
        written = await self.client.update(DEPLOYMENTS, deployment)
        deployment["metadata"] = written["metadata"]

    async def _scale(self, deployment: Obj, one: Obj, size: int) -> bool:
        """Set a set's size and what it is told of the Deployment's; True if the size changed."""
        before = rollout.replicas(one)
        told = _size_annotations(deployment)
        annotations = objects.annotations(one)
        if before == size and all(annotations.get(name) == told[name] for name in told):
            return False
        meta = {**one["metadata"], "annotations": {**annotations, **told}}
        spec = {**one["spec"], "replicas": size}
        written = await self.client.update(REPLICA_SETS, {**one, "metadata": meta, "spec": spec})
        await self.sets.reached(objects.resource_version(written))
        if before == size:
            return False
        direction = "up" if size > before else "down"
        text = f"Scaled {direction} replica set {objects.name(one)} from {before} to {size}"
        self.recorder.event(deployment, "Normal", "ScalingReplicaSet", text)
        return True

    async def _finish(self, deployment: Obj, sets: list[Obj], new: Obj | None) -> float | None:
        """Write the status from what the sets show now; trim the history once all is done."""
        shown = [self.sets.get(objects.key(one)) or one for one in sets]
        if new is not None:
            new = self.sets.get(objects.key(new)) or new
        status, again = deployment_status.compute(deployment, shown, new, self.clock)
        await self._write_status(deployment, status)
        if rollout.is_complete(deployment, status) and not objects.is_deleting(deployment):
            await self._trim_history(deployment, shown, new)
        return again

    async def _write_status(self, deployment: Obj, status: Obj) -> None:
        held = self.deployments.get(objects.key(deployment))
        if held is not None and (held.get("status") or {}) == status:
            return
        await self.client.update_status(DEPLOYMENTS, {**deployment, "status": status})

    async def _trim_history(self, deployment: Obj, sets: list[Obj], new: Obj | None) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        if limit >= UNLIMITED_HISTORY:
            return
        old = [
            one
            for one in sets
            if (new is None or objects.uid(one) != objects.uid(new))
            and not objects.is_deleting(one)
        ]
        surplus = len(old) - limit
        for one in sorted(old, key=rollout.revision_of)[: max(surplus, 0)]:
            if rollout.replicas(one) == 0 and not objects.status(one).get("replicas"):
                name, namespace = objects.name(one), objects.namespace(one)
                await self.client.delete(REPLICA_SETS, name, namespace, uid=objects.uid(one))


def _selector(deployment: Obj) -> LabelSelector:
    return LabelSelector.from_object(deployment["spec"]["selector"])


def _inherited_annotations(deployment: Obj) -> dict[str, Any]:
    held = objects.annotations(deployment)
    return {name: text for name, text in held.items() if name not in rollout.OWN_ANNOTATIONS}


def _size_annotations(deployment: Obj) -> dict[str, str]:
    size = rollout.replicas(deployment)
    return {
        rollout.DESIRED_REPLICAS: str(size),
        rollout.MAX_REPLICAS: str(size + rollout.max_surge(deployment)),
    }
