"""StatefulSets: pods with an ordinal, a stable name and claims of their own.

One round brings the wanted ordinals up, lowest first, then condemns the surplus, highest first,
then deletes one outdated pod of a rolling update, highest first. With ``OrderedReady`` every step
waits for the one before; with ``Parallel`` pods come and go at once. Identity is in
``stateful_identity.py``, claims in ``stateful_claims.py``, templates in ``revisions.py``.
"""

from collections.abc import Awaitable, Callable, Sequence

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    CONTROLLER_REVISIONS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
)
from kybern.api.selectors import LabelSelector
from kybern.controllers import revisions
from kybern.controllers import stateful_identity as identity
from kybern.controllers.controller import Context, Controller, owner_key
from kybern.controllers.replicas import PodControl, in_slow_start, is_same_status
from kybern.controllers.stateful_claims import ClaimControl
from kybern.controllers.stateful_identity import Versions

HASH_LABEL = "controller.kubernetes.io/hash"

Step = Callable[[Obj], Awaitable[bool]]


class StatefulSetController(Controller):
    """Keyed by StatefulSet."""

    name = "statefulset-controller"
    account = "statefulset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.watch(STATEFUL_SETS)
        self.pods = self.watch(PODS, owner_key("StatefulSet"))
        self.pods.on_change(self._wake_for_orphan)
        self.recorder = context.recorder(self.client, self.name)
        self.control = PodControl(self.client, self.recorder, self.pods)
        claims = self.read(PERSISTENT_VOLUME_CLAIMS)
        self.claims = ClaimControl(self.client, self.recorder, claims)
        held = self.read(CONTROLLER_REVISIONS)
        self.revisions = revisions.RevisionControl(self.client, held)

    def _wake_for_orphan(self, old: Obj | None, new: Obj | None) -> None:
        if new is None or objects.controller_of(new) is not None:
            return
        for one in self.sets.list(objects.namespace(new)):
            if _selector(one).matches(objects.labels(new)):
                self.queue.add(objects.key(one))

    async def reconcile(self, key: str) -> float | None:
        held = self.sets.get(key)
        if held is None:
            return None
        stateful_set = objects.copy(held)
        history = await self.revisions.claim(stateful_set)
        pods = await self._claim(stateful_set)
        versions, collisions = await self._versions(stateful_set, history)
        failure: Exception | None = None
        if not objects.is_deleting(stateful_set):
            try:
                await self._move(stateful_set, versions, pods)
            except StatusError as error:
                failure = error
        pods = self.control.owned(stateful_set)
        await self._write_status(stateful_set, versions, collisions, pods)
        await self._trim(stateful_set, versions, pods)
        if failure is not None:
            raise failure
        return self._until_available(stateful_set, pods)

    async def _claim(self, stateful_set: Obj) -> list[Obj]:
        selector = _selector(stateful_set)
        return await self.control.claim(
            stateful_set,
            lambda pod: (
                selector.matches(objects.labels(pod)) and identity.is_member(stateful_set, pod)
            ),
        )

    async def _versions(self, stateful_set: Obj, history: Sequence[Obj]) -> tuple[Versions, int]:
        """The revisions that the set comes from and goes to, and the collisions of hashes."""
        collisions = objects.status(stateful_set).get("collisionCount", 0)
        wanted = revisions.patch_of(stateful_set)
        same = [one for one in history if one["data"] == wanted]
        if not same:
            number = revisions.next_number(history)
            update, collisions = await self.revisions.create(stateful_set, number, HASH_LABEL)
        elif same[-1] is history[-1]:
            update = same[-1]
        else:
            update = await self.revisions.renumber(same[-1], revisions.next_number(history))
        name = objects.status(stateful_set).get("currentRevision")
        current = next((one for one in history if objects.name(one) == name), update)
        return Versions(current, update), collisions

    async def _move(self, stateful_set: Obj, versions: Versions, pods: Sequence[Obj]) -> None:
        """One round towards the spec; returns early where a step must be waited for."""
        held = {identity.ordinal(pod): pod for pod in pods}
        first = identity.start(stateful_set)
        wanted = [
            held.get(number) or identity.new_pod(stateful_set, versions, number)
            for number in range(first, first + identity.replicas(stateful_set))
        ]
        condemned = [
            held[number]
            for number in sorted(held, reverse=True)
            if not identity.is_wanted(stateful_set, number)
        ]
        ailing = self._first_unavailable(stateful_set, [*wanted, *reversed(condemned)])

        async def raise_up(pod: Obj) -> bool:
            return await self._raise(stateful_set, pod)

        async def keep_claims(pod: Obj) -> bool:
            await self.claims.apply_policy(stateful_set, pod)
            return False

        async def condemn(pod: Obj) -> bool:
            return await self._condemn(stateful_set, pod, ailing)

        if (
            await self._each(stateful_set, wanted, raise_up)
            or await self._each(stateful_set, condemned, keep_claims)
            or await self._each(stateful_set, condemned, condemn)
        ):
            return
        if identity.is_rolling(stateful_set):
            await self._update(stateful_set, versions, wanted)

    async def _each(self, stateful_set: Obj, pods: Sequence[Obj], step: Step) -> bool:
        """Take the step for each pod, in order or all at once; True if the round ends here."""
        if not identity.is_parallel(stateful_set):
            for pod in pods:
                if await step(pod):
                    return True
            return False
        waiting = iter(pods)
        failures = await in_slow_start(len(pods), lambda: step(next(waiting)))
        if failures:
            raise failures[0]
        return False

    def _first_unavailable(self, stateful_set: Obj, pods: Sequence[Obj]) -> Obj | None:
        return next((pod for pod in pods if not self._serves(stateful_set, pod)), None)

    def _serves(self, stateful_set: Obj, pod: Obj) -> bool:
        now = self.clock.time()
        return identity.is_available(stateful_set, pod, now) and not objects.is_deleting(pod)

    async def _raise(self, stateful_set: Obj, pod: Obj) -> bool:
        """Bring one wanted pod up; True if later ones must wait for it."""
        if objects.is_pod_terminal(pod):
            if not objects.is_deleting(pod):
                await self._delete(stateful_set, pod)
            return True
        ordered = not identity.is_parallel(stateful_set)
        if not objects.uid(pod):
            if self.claims.are_stale(stateful_set, pod):
                return True
            await self._create(stateful_set, pod)
            return ordered
        if objects.pod_phase(pod) == "Pending":
            await self.claims.create_missing(stateful_set, pod)
            await self.claims.apply_policy(stateful_set, pod)
        ready = identity.is_running_and_ready(pod)
        if ordered and not (ready and self._serves(stateful_set, pod)):
            return True
        await self._correct(stateful_set, pod)
        return False

    async def _correct(self, stateful_set: Obj, pod: Obj) -> None:
        """Put a pod's labels and claims right where somebody has changed them."""
        right = identity.identity_matches(stateful_set, pod) and identity.storage_matches(
            stateful_set, pod
        )
        if right and self.claims.match_policy(stateful_set, pod):
            return
        await self.claims.apply_policy(stateful_set, pod)
        if right:
            return
        corrected = objects.copy(pod)
        identity.identify(stateful_set, corrected)
        identity.mount_claims(stateful_set, corrected)
        try:
            await self.claims.create_missing(stateful_set, corrected)
            written = await self.client.update(PODS, corrected)
        except StatusError as error:
            self._tell("Update", stateful_set, pod, error)
            raise
        self._tell("Update", stateful_set, pod)
        await self.pods.reached(objects.resource_version(written))

    async def _create(self, stateful_set: Obj, pod: Obj) -> None:
        try:
            await self.claims.create_missing(stateful_set, pod)
            made = await self.client.create(PODS, pod)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                self._tell("Create", stateful_set, pod, error)
            raise
        self._tell("Create", stateful_set, pod)
        await self.claims.apply_policy(stateful_set, made)
        await self.pods.reached(objects.resource_version(made))

    async def _delete(self, stateful_set: Obj, pod: Obj) -> None:
        name, namespace = objects.name(pod), objects.namespace(pod)
        try:
            gone = await self.client.delete(PODS, name, namespace, uid=objects.uid(pod))
        except StatusError as error:
            if error.code in (404, 409):
                return
            self._tell("Delete", stateful_set, pod, error)
            raise
        self._tell("Delete", stateful_set, pod)
        await self.pods.reached(gone.get("metadata", {}).get("resourceVersion", ""))

    def _tell(
        self, verb: str, stateful_set: Obj, pod: Obj, error: StatusError | None = None
    ) -> None:
        about = f"{verb} Pod {objects.name(pod)} in StatefulSet {objects.name(stateful_set)}"
        if error is None:
            self.recorder.event(stateful_set, "Normal", f"Successful{verb}", f"{about} successful")
        else:
            text = f"{about} failed error: {error.message}"
            self.recorder.event(stateful_set, "Warning", f"Failed{verb}", text)

    async def _condemn(self, stateful_set: Obj, pod: Obj, ailing: Obj | None) -> bool:
        """Delete a surplus pod; in order, only while every other pod serves."""
        ordered = not identity.is_parallel(stateful_set)
        if objects.is_deleting(pod):
            return ordered
        if ordered and pod is not ailing:
            serves = identity.is_running_and_ready(pod) and self._serves(stateful_set, pod)
            if not serves:
                return True
        await self._delete(stateful_set, pod)
        return True

    async def _update(self, stateful_set: Obj, versions: Versions, pods: Sequence[Obj]) -> None:
        """Delete the highest outdated pod, if all above it serve; its successor is the update."""
        for pod in reversed(pods[identity.partition(stateful_set) :]):
            outdated = identity.revision_of(pod) != objects.name(versions.update)
            if outdated and not objects.is_deleting(pod):
                await self._delete(stateful_set, pod)
                return
            if not self._serves(stateful_set, pod):
                return

    async def _write_status(
        self, stateful_set: Obj, versions: Versions, collisions: int, pods: Sequence[Obj]
    ) -> None:
        now = self.clock.time()
        living = [pod for pod in pods if not objects.is_deleting(pod)]
        ready = [pod for pod in pods if identity.is_running_and_ready(pod)]
        current, update = objects.name(versions.current), objects.name(versions.update)
        status: Obj = {
            **objects.status(stateful_set),
            "observedGeneration": objects.generation(stateful_set),
            "replicas": len(pods),
            "readyReplicas": len(ready),
            "availableReplicas": sum(
                identity.is_available(stateful_set, pod, now) for pod in ready
            ),
            "currentReplicas": sum(identity.revision_of(pod) == current for pod in living),
            "updatedReplicas": sum(identity.revision_of(pod) == update for pod in living),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": collisions,
        }
        wanted = identity.replicas(stateful_set)
        counts = {status[field] for field in ("updatedReplicas", "readyReplicas", "replicas")}
        if identity.is_rolling(stateful_set) and counts == {wanted}:
            status["currentReplicas"] = status["updatedReplicas"]
            status["currentRevision"] = update
        if is_same_status(status, objects.status(stateful_set)):
            return
        try:
            written = await self.client.update_status(
                STATEFUL_SETS, {**stateful_set, "status": status}
            )
        except StatusError as error:
            if error.code != 404:
                raise
            return
        await self.sets.reached(objects.resource_version(written))

    async def _trim(self, stateful_set: Obj, versions: Versions, pods: Sequence[Obj]) -> None:
        live = {objects.name(versions.current), objects.name(versions.update)}
        live.update(map(identity.revision_of, pods))
        held = self.revisions.owned(stateful_set)
        spare = [one for one in held if objects.name(one) not in live]
        limit = stateful_set["spec"].get("revisionHistoryLimit", 10)
        await self.revisions.trim(spare, limit)

    def _until_available(self, stateful_set: Obj, pods: Sequence[Obj]) -> float | None:
        """When the next ready pod will have been ready for ``minReadySeconds``."""
        delay = stateful_set["spec"].get("minReadySeconds", 0)
        now = self.clock.time()
        waits: list[float] = []
        for pod in pods:
            ready = objects.condition(pod, "Ready") or {}
            if ready.get("status") == "True" and ready.get("lastTransitionTime"):
                wait = objects.epoch(ready["lastTransitionTime"]) + delay - now
                if wait > 0:
                    waits.append(wait)
        return min(waits, default=None)


def _selector(stateful_set: Obj) -> LabelSelector:
    return LabelSelector.from_object(stateful_set["spec"]["selector"])
