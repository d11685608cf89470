"""What controllers of interchangeable pods share: which pods are mine, which goes first, creation.

Used by the ReplicaSet, ReplicationController and Job controllers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS
from kybern.client import Client, EventRecorder, Informer
from kybern.controllers.controller import is_namespace_terminating

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
FIRST_BATCH = 1


def pod_from_template(owner: Obj, template: Obj) -> Obj:
    """A pod to create for ``owner``: generated name, the template's metadata, a controller."""
    prefix = owner["metadata"]["name"] + "-"
    meta: Obj = {
        "generateName": prefix,
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [objects.controller_reference(owner)],
    }
    described = template.get("metadata") or {}
    for field in ("labels", "annotations", "finalizers"):
        if described.get(field):
            meta[field] = described[field]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


async def in_slow_start(count: int, create: Callable[[], Awaitable[Any]]) -> list[Exception]:
    """Create in batches of 1, 2, 4, ...; stop at the first batch with a failure.

    A refused pod (quota, admission) then costs one request and not hundreds.
    """
    failures: list[Exception] = []
    batch = FIRST_BATCH
    while count > 0 and not failures:
        size = min(batch, count)
        outcomes = await asyncio.gather(*(create() for _ in range(size)), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                failures.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        count -= size
        batch *= 2
    return failures


class PodControl:
    """Creates, deletes, adopts and releases pods for one kind of owner, with upstream's events.

    ``finalizer`` is what owned pods are held by, if anything: adopted ones get it, released ones
    lose it.
    """

    def __init__(
        self, client: Client, recorder: EventRecorder, pods: Informer, finalizer: str = ""
    ) -> None:
        self.client = client
        self.finalizer = finalizer
        self.recorder = recorder
        self.pods = pods
        pods.add_index("controller", controller_uids)
        pods.add_index("orphan", _namespace_of_orphan)

    async def create(self, owner: Obj, pod: Obj) -> Obj:
        try:
            created = await self.client.create(PODS, pod)
        except StatusError as error:
            if not is_namespace_terminating(error):
                text = f"Error creating: {error.message}"
                self.recorder.event(owner, "Warning", "FailedCreate", text)
            raise
        name = created["metadata"]["name"]
        self.recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return created

    async def delete(self, owner: Obj, pod: Obj) -> None:
        meta = pod["metadata"]
        try:
            deleted = await self.client.delete(
                PODS, meta["name"], meta["namespace"], uid=meta["uid"]
            )
        except StatusError as error:
            if error.code in (404, 409):
                return
            text = f"Error deleting: {error.message}"
            self.recorder.event(owner, "Warning", "FailedDelete", text)
            raise
        text = f"Deleted pod: {meta['name']}"
        self.recorder.event(owner, "Normal", "SuccessfulDelete", text)
        await self.pods.reached(deleted.get("metadata", {}).get("resourceVersion", ""))

    def owned(self, owner: Obj) -> list[Obj]:
        """The pods whose controller is this very owner (by uid)."""
        return self.pods.by_index("controller", owner["metadata"]["uid"])

    async def claim(self, owner: Obj, matches: Callable[[Obj], bool]) -> list[Obj]:
        """Owned pods that match; adopts matching orphans and releases what no longer matches."""
        claimed: list[Obj] = []
        leaving = bool(owner["metadata"].get("deletionTimestamp"))
        for pod in self.owned(owner):
            if matches(pod):
                claimed.append(pod)
            elif not leaving:
                await self._release(owner, pod)
        if leaving:
            return claimed
        for pod in self.pods.by_index("orphan", owner["metadata"]["namespace"]):
            if matches(pod) and objects.is_pod_active(pod):
                adopted = await self._adopt(owner, pod)
                if adopted is not None:
                    claimed.append(adopted)
        return claimed

    async def _adopt(self, owner: Obj, pod: Obj) -> Obj | None:
        reference = objects.controller_reference(owner)
        meta: Obj = {"ownerReferences": [reference], "uid": pod["metadata"]["uid"]}
        if self.finalizer:
            meta["finalizers"] = [self.finalizer]
        return await self._patch_owners(pod, meta)

    async def _release(self, owner: Obj, pod: Obj) -> None:
        gone = {"$patch": "delete", "uid": owner["metadata"]["uid"]}
        meta: Obj = {"ownerReferences": [gone], "uid": pod["metadata"]["uid"]}
        if self.finalizer:
            meta["$deleteFromPrimitiveList/finalizers"] = [self.finalizer]
        await self._patch_owners(pod, meta)

    async def _patch_owners(self, pod: Obj, meta: Obj) -> Obj | None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            return await self.client.patch(
                PODS, name, {"metadata": meta}, namespace, kind="strategic"
            )
        except StatusError as error:
            if error.code in (404, 409, 422):
                return None
            raise


def controller_uids(obj: Obj) -> tuple[str, ...]:
    controller = objects.controller_of(obj)
    return (controller["uid"],) if controller else ()


def _namespace_of_orphan(pod: Obj) -> tuple[str, ...]:
    return (pod["metadata"]["namespace"],) if objects.controller_of(pod) is None else ()


def is_same_status(status: Obj, known: Obj) -> bool:
    """Equal, where an absent count is zero."""
    names = {*status, *known}
    return all((status.get(name) or 0) == (known.get(name) or 0) for name in sorted(names))


def latest_revision(written: Iterable[Obj]) -> str:
    """The highest resourceVersion among objects that were just written."""
    revisions = (obj["metadata"].get("resourceVersion") or "0" for obj in written)
    return str(max((int(revision) for revision in revisions), default=0))


def deletion_order(pods: Sequence[Obj], related: Callable[[Obj], int], now: float) -> list[Obj]:
    """Pods in the order in which scaling down removes them (KEP-2255).

    Unassigned before assigned, Pending before Unknown before Running, not ready before ready,
    lower deletion cost first, crowded nodes first (``related`` counts siblings on the node),
    younger readiness, more restarts, younger age: ages compare on a logarithmic scale.
    """
    return sorted(pods, key=lambda pod: _rank(pod, related(pod), now))


def _rank(pod: Obj, related: int, now: float) -> tuple[Any, ...]:
    status = pod.get("status") or {}
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}
    ready = objects.condition(pod, "Ready") or {}
    is_ready = ready.get("status") == "True"
    restarts = _restarts(status)
    return (
        bool(pod["spec"].get("nodeName")),
        phases.get(status.get("phase", "Pending"), 2),
        is_ready,
        _cost(pod),
        -related,
        _age_rank(ready.get("lastTransitionTime"), now) if is_ready else 0,
        tuple(-count for count in restarts),
        _age_rank(pod["metadata"].get("creationTimestamp"), now),
        pod["metadata"].get("uid", ""),
    )


def _cost(pod: Obj) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _restarts(status: Obj) -> tuple[int, int]:
    """The largest counts of regular and of restartable init containers."""
    regular = [c.get("restartCount", 0) for c in status.get("containerStatuses") or ()]
    initial = [c.get("restartCount", 0) for c in status.get("initContainerStatuses") or ()]
    return max(regular, default=0), max(initial, default=0)


def _age_rank(timestamp: str | None, now: float) -> int:
    """Younger is smaller; ages within one power of two are equal."""
    if not timestamp:
        return 0
    age = max(int((now - objects.epoch(timestamp)) * 1e9), 1)
    return age.bit_length()
