"""Writes pod statuses to the API server, newest first and only what changed.

Workers call :meth:`StatusManager.set` as often as they like; one task per dirty pod writes the
newest status as a strategic merge patch, so that conditions of others are left alone. A pod that is
through (containers gone, volumes gone) and deleted is finally removed from the API here. While the
API server is away statuses wait, one per pod.
"""

import asyncio
import logging
from collections.abc import Callable

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.kubelet.pods import spec

logger = logging.getLogger(__name__)

PARALLEL_WRITES = 16
RETRY_SECONDS = 1.0
LONGEST_RETRY = 10.0


class StatusManager:
    """The last status of every pod, and its way to the API server; None as client keeps it here."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._pods: dict[str, Obj] = {}
        self._statuses: dict[str, Obj] = {}
        self._written: dict[str, Obj] = {}
        self._finished: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(PARALLEL_WRITES)
        self.on_change: Callable[[Obj, Obj], None] | None = None

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
        if self.on_change is not None:
            self.on_change(pod, status)
        self._write_soon(uid)

    def finish(self, pod: Obj) -> None:
        """All of the pod is gone from the node: after its last status it leaves the API."""
        self._pods[spec.uid(pod)] = pod
        self._finished.add(spec.uid(pod))
        self._write_soon(spec.uid(pod))

    def forget(self, uid: str) -> None:
        """The API no longer has the pod."""
        for kept in (self._pods, self._statuses, self._written):
            kept.pop(uid, None)
        self._finished.discard(uid)

    async def close(self) -> None:
        """Give writes on their way a moment, then stop."""
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
            task.add_done_callback(lambda _: self._tasks.pop(uid, None))

    def _pending(self, uid: str) -> bool:
        if uid not in self._pods or spec.is_static(self._pods[uid]):
            return False
        return uid in self._finished or self._statuses.get(uid) != self._written.get(uid)

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
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            if status is not None and status != self._written.get(uid):
                patch = {
                    "metadata": {"uid": uid},
                    "status": difference(self._written.get(uid) or {}, status),
                }
                await self._client.patch(
                    PODS, name, patch, namespace, kind="strategic", subresource="status"
                )
                self._written[uid] = status
            if uid in self._finished and spec.is_deleted(pod):
                await self._client.delete(PODS, name, namespace, grace_period_seconds=0, uid=uid)
        except StatusError as error:
            if error.code not in (404, 409, 422):
                raise
            # Gone, or another pod took the name, or refused for good: nothing more to say.
            logger.info("status of pod %s/%s dropped: %s", namespace, name, error)
            self._written[uid] = status or {}
        self._finished.discard(uid)


def difference(old: Obj, new: Obj) -> Obj:
    """The changed top-level fields of a status as a strategic merge patch."""
    patch: Obj = {key: None for key in old if key not in new and key != "resize"}
    for key, value in new.items():
        if old.get(key) == value:
            continue
        if key == "podIPs":
            # Merged by address otherwise, which would keep the addresses of an earlier sandbox.
            patch[key] = [{"$patch": "replace"}, *value]
        else:
            patch[key] = value
    return patch
