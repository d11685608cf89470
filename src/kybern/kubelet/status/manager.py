"""Writes pod statuses to the API server, newest first and only what changed.

Workers call :meth:`StatusManager.set` as often as they like; one task per dirty pod writes the
newest status as a strategic merge patch, so that conditions of others are left alone. A pod that is
through (containers gone, volumes gone) and deleted is finally removed from the API here. While the
API server is away statuses wait, one per pod.
"""

import asyncio
import logging

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.kubelet.pods import spec
from kybern.kubelet.status.conditions import ALL_OWNED, PASSING
from kybern.kubelet.status.generate import TERMINAL

logger = logging.getLogger(__name__)

PARALLEL_WRITES = 16
RETRY_SECONDS = 1.0
LONGEST_RETRY = 10.0

# Parts of a pod's status that a node may not write.
_OTHERS = ("resize", "resourceClaimStatuses", "extendedResourceClaimStatus")


class StatusManager:
    """The last status of every pod, and its way to the API server; None as client keeps it here."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._pods: dict[str, Obj] = {}
        self._statuses: dict[str, Obj] = {}
        self._written: dict[str, Obj] = {}
        self._versions: dict[str, int] = {}
        self._finished: set[str] = set()
        self._mirrors: dict[str, Obj] = {}
        self._closing = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(PARALLEL_WRITES)

    def get(self, pod: Obj) -> Obj:
        """The last status made here, else what the API has."""
        return self._statuses.get(spec.uid(pod)) or pod.get("status") or {}

    def set(self, pod: Obj, status: Obj) -> None:
        """Report a status; returns at once."""
        uid = spec.uid(pod)
        known = self._pods.get(uid)
        self._pods[uid] = pod
        if uid not in self._written:
            self._written[uid] = pod.get("status") or {}
        if known is not None and self._statuses.get(uid) == status:
            return
        self._statuses[uid] = status
        self._write_soon(uid)

    def observe(self, pod: Obj) -> None:
        """The API's newest version: what somebody else changed of the kubelet's is put right.

        A node that was cut off for a while finds its pods marked unready when it comes back.
        """
        uid = spec.uid(pod)
        ours = self._statuses.get(uid)
        if ours is None or uid in self._tasks:
            return
        if int(pod["metadata"].get("resourceVersion") or 0) < self._versions.get(uid, 0):
            return
        theirs = pod.get("status") or {}
        if theirs.get("phase") in TERMINAL and ours.get("phase") not in TERMINAL:
            # Somebody declared the pod ended; its worker ends it and reports then.
            return
        if _owned(theirs) != _owned(ours):
            self._written[uid] = theirs
            self._write_soon(uid)

    def mirror(self, uid: str, mirror: Obj | None) -> None:
        """The API's picture of a static pod, which is where its status goes; None for no more."""
        known = self._mirrors.get(uid)
        if mirror is None:
            self._mirrors.pop(uid, None)
        elif known is None or spec.uid(known) != spec.uid(mirror):
            self._mirrors[uid] = mirror
            self._written[uid] = mirror.get("status") or {}
            self._write_soon(uid)

    def finish(self, pod: Obj) -> None:
        """All of the pod is gone from the node: after its last status it leaves the API."""
        self._pods[spec.uid(pod)] = pod
        self._finished.add(spec.uid(pod))
        self._write_soon(spec.uid(pod))

    def forget(self, uid: str) -> None:
        """The API no longer has the pod."""
        for kept in (self._pods, self._statuses, self._written, self._versions):
            kept.pop(uid, None)
        self._finished.discard(uid)
        self._mirrors.pop(uid, None)

    async def close(self) -> None:
        """Give writes on their way a moment, then stop."""
        self._closing = True
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _write_soon(self, uid: str) -> None:
        if self._client is not None and uid not in self._tasks:
            task = asyncio.create_task(self._write_until_done(uid), name=f"status {uid}")
            self._tasks[uid] = task
            task.add_done_callback(lambda ended: self._written_for_now(uid, ended))

    def _written_for_now(self, uid: str, task: asyncio.Task[None]) -> None:
        """The writer of a pod has ended; a status that came just then gets another one."""
        self._tasks.pop(uid, None)
        if not (self._closing or task.cancelled()) and self._pending(uid):
            self._write_soon(uid)

    def _pending(self, uid: str) -> bool:
        if uid not in self._pods:
            return False
        changed = self._statuses.get(uid) != self._written.get(uid)
        if spec.is_static(self._pods[uid]):
            return changed and uid in self._mirrors
        return changed or uid in self._finished

    async def _write_until_done(self, uid: str) -> None:
        delay = RETRY_SECONDS
        while self._pending(uid):
            try:
                async with self._slots:
                    await self._write(uid)
                delay = RETRY_SECONDS
            except (StatusError, ApiUnreachable) as error:
                logger.warning("status of pod %s not written: %s", uid, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_RETRY)

    async def _write(self, uid: str) -> None:
        """One patch, and the final delete; raises to be tried again."""
        assert self._client is not None
        pod, status = self._pods[uid], self._statuses.get(uid)
        finished = uid in self._finished
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            if status is not None and status != self._written.get(uid):
                patch = {
                    "metadata": {"uid": spec.uid(self._mirrors.get(uid, pod))},
                    "status": difference(self._written.get(uid) or {}, status),
                }
                answer = await self._client.patch(
                    PODS, name, patch, namespace, kind="strategic", subresource="status"
                )
                self._written[uid] = status
                self._versions[uid] = int(answer["metadata"].get("resourceVersion") or 0)
            if finished and spec.is_deleted(pod):
                await self._client.delete(PODS, name, namespace, grace_period_seconds=0, uid=uid)
        except StatusError as error:
            if error.code not in (404, 409, 422):
                raise
            if error.code == 409 and await self._still_there(pod):
                raise
            # Gone, or another pod took the name, or refused for good: nothing more to say.
            level = logging.INFO if error.code == 404 else logging.WARNING
            logger.log(level, "status of pod %s/%s dropped: %s", namespace, name, error)
            self._written[uid] = status or {}
        # A delete that was told of meanwhile has a turn of its own.
        if finished and self._pods.get(uid) is pod:
            self._finished.discard(uid)

    async def _still_there(self, pod: Obj) -> bool:
        """Whether the API has this very pod, so that a conflict is worth another try."""
        assert self._client is not None
        meta = pod["metadata"]
        try:
            found = await self._client.get(PODS, meta["name"], meta["namespace"])
        except StatusError as error:
            return error.code != 404
        return spec.uid(found) == spec.uid(pod)


def _owned(status: Obj) -> tuple[str, dict[str, str]]:
    """The phase and the kubelet's own conditions."""
    conditions = status.get("conditions") or ()
    return status.get("phase", ""), {
        c["type"]: c["status"] for c in conditions if c["type"] in ALL_OWNED
    }


def difference(old: Obj, new: Obj) -> Obj:
    """The changed top-level fields of a status as a strategic merge patch."""
    gone = [key for key in old if key not in new and key not in _OTHERS]
    patch: Obj = dict.fromkeys(gone)
    for key, value in new.items():
        if old.get(key) == value:
            continue
        if key == "podIPs":
            # Merged by address otherwise, which would keep the addresses of an earlier sandbox.
            patch[key] = [{"$patch": "replace"}, *value]
        elif key == "conditions":
            # A condition that turned true leaves its reason and message behind unless they go.
            patch[key] = [{"reason": None, "message": None, **condition} for condition in value]
            kinds = {condition["type"] for condition in value}
            past = [c["type"] for c in old.get(key) or () if c["type"] not in kinds]
            patch[key] += [{"$patch": "delete", "type": kind} for kind in past if kind in PASSING]
        elif isinstance(value, dict):
            # Names that are gone from a map stay unless the map is replaced as a whole.
            patch[key] = {"$patch": "replace", **value}
        else:
            patch[key] = value
    return patch
