"""Carries explanations to the API server, as PodExplanation objects.

Two things make it write: a question (an explanation without status, stored by the API server when
somebody reads one that is not there) is answered at once; a pod that waits is explained without
being asked, at most ``WRITES_PER_SECOND``, and only while fewer than ``MOST`` objects exist. A pod
that has an explanation and gets a node is explained anew. Beyond ``MOST`` objects those of pods
with nodes go, the oldest first: whoever wants one again asks again. Scheduling never waits for any
of this, and a scheduler on an API server without the group does without.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from kybern.api.errors import StatusError
from kybern.api.resources import POD_EXPLANATIONS
from kybern.client import Client, Informer, Informers
from kybern.client.informer import object_key
from kybern.client.transport import ApiUnreachable

Obj = dict[str, Any]

logger = logging.getLogger(__name__)

MOST = 1000
WRITES_PER_SECOND = 10.0
# What differs from one attempt to the next though nothing has changed.
PASSING = ("time", "attempts")


class Publisher:
    """Writes what ``explain`` says about pods; ``pods`` are those that the scheduler sees."""

    def __init__(
        self, client: Client, pods: Informer, explain: Callable[[Obj], Obj | None]
    ) -> None:
        self._client = client
        self._pods = pods
        self._explain = explain
        self._informers = Informers(client)
        self._stored: Informer | None = None
        self._is_off = False
        self._asked: dict[str, None] = {}
        self._noted: dict[str, None] = {}
        self._wake = asyncio.Event()

    def note(self, pod: Obj) -> None:
        """The pod waits: explain it when there is time."""
        if len(self._noted) < MOST and not self._is_off:
            self._noted[object_key(pod)] = None
            self._wake.set()

    def pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """An explained pod that got its node is to be explained anew."""
        if self._stored is None or new is None or not new["spec"].get("nodeName"):
            return
        if (old is None or not old["spec"].get("nodeName")) and self._stored.get(object_key(new)):
            self.note(new)

    async def run(self) -> None:
        """Write until cancelled; returns at once where the API server has no such group."""
        if not await self._client.serves(POD_EXPLANATIONS):
            logger.info("the API server does not serve %s", POD_EXPLANATIONS.group)
            self._is_off = True
            self._noted.clear()
            return
        try:
            self._stored = self._informers.informer(POD_EXPLANATIONS)
            self._stored.on_change(self._explanation_changed)
            await self._informers.start()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._write_all()
        finally:
            self._stored = None
            await self._informers.stop()

    def _explanation_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is not None and not new.get("status"):
            self._asked[object_key(new)] = None
            self._wake.set()

    async def _write_all(self) -> None:
        """Questions first, whenever there are any."""
        while self._asked or self._noted:
            while self._asked:
                await self._publish(_take_first(self._asked), is_asked=True)
            if self._noted and await self._publish(_take_first(self._noted), is_asked=False):
                await asyncio.sleep(1 / WRITES_PER_SECOND)

    async def _publish(self, key: str, *, is_asked: bool) -> bool:
        """Write a pod's explanation if it says something else than the stored one."""
        assert self._stored is not None, "only a running publisher publishes"
        pod, stored = self._pods.get(key), self._stored.get(key)
        if pod is None or (stored is None and (is_asked or len(self._stored.list()) >= MOST)):
            return False
        try:
            status = self._explain(pod)
        except Exception:
            # A defect in an explanation, or in a plugin of somebody else, must not stop scheduling.
            logger.exception("explaining %s failed", key)
            return False
        if status is None or (stored is not None and _says(stored.get("status"), status)):
            return False
        try:
            if stored is None:
                await self._client.create(POD_EXPLANATIONS, _explanation(pod, status))
            else:
                await self._client.update(POD_EXPLANATIONS, {**stored, "status": status})
                await self._trim(self._stored.list(), key)
        except StatusError as error:
            # Somebody else wrote or removed it; its event, or the pod's next attempt, comes here.
            if error.reason not in ("Conflict", "NotFound", "AlreadyExists"):
                logger.warning("explaining %s: %s", key, error)
        except (ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.warning("explaining %s: %s", key, error)
        return True

    async def _trim(self, stored: Sequence[Obj], but: str) -> None:
        """Remove the oldest explanation that nobody waits for, if there are too many."""
        if len(stored) <= MOST:
            return
        settled = [
            one
            for one in stored
            if (one.get("status") or {}).get("node") and object_key(one) != but
        ]
        oldest = min(settled, key=lambda one: int(one["metadata"]["resourceVersion"]), default=None)
        if oldest is not None:
            meta = oldest["metadata"]
            await self._client.delete(
                POD_EXPLANATIONS, meta["name"], meta["namespace"], uid=meta["uid"]
            )


def _take_first(keys: dict[str, None]) -> str:
    key = next(iter(keys))
    del keys[key]
    return key


def _says(stored: Obj | None, status: Obj) -> bool:
    """Whether the stored status tells the same."""
    before = {name: value for name, value in (stored or {}).items() if name not in PASSING}
    return before == {name: value for name, value in status.items() if name not in PASSING}


def _explanation(pod: Obj, status: Obj) -> Obj:
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": POD_EXPLANATIONS.api_version,
        "kind": POD_EXPLANATIONS.kind,
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "ownerReferences": [owner],
        },
        "status": status,
    }
