"""All pod workers of a node: hands each pod's news to its worker, and finds orphans.

Sources call :meth:`PodWorkers.update` and :meth:`remove`; the runtime (``pleg``) and probes call
:meth:`wake`. There is one worker per pod UID, from its first sight to its last trace.
"""

import asyncio
from collections.abc import Iterable

from kybern.api.errors import Obj
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.killing import remove_pod
from kybern.kubelet.pods.worker import Ending, PodWorker


class PodWorkers:
    """Workers by pod UID."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._workers: dict[str, PodWorker] = {}

    def update(self, pod: Obj) -> None:
        """A pod of this node, new or changed."""
        uid = spec.uid(pod)
        worker = self._workers.get(uid)
        if worker is None or worker.finished:
            self._workers[uid] = PodWorker(uid, self._parts, pod)
        else:
            worker.update(pod)

    def remove(self, uid: str) -> None:
        """The source no longer has the pod."""
        if worker := self._workers.get(uid):
            worker.remove()

    def end(self, uid: str, ending: Ending) -> None:
        """The node itself ends a pod."""
        if worker := self._workers.get(uid):
            worker.end(ending)

    async def until_ended(self, uids: Iterable[str], seconds: float) -> bool:
        """Wait until the pods hold nothing any more; False if that takes longer."""
        workers = [worker for uid in uids if (worker := self._workers.get(uid)) is not None]
        try:
            async with asyncio.timeout(seconds):
                for worker in workers:
                    await worker.ended.wait()
        except TimeoutError:
            return False
        return True

    def wake(self, uid: str) -> None:
        """Something happened to the pod."""
        if worker := self._workers.get(uid):
            worker.wake()

    def pods(self) -> list[Obj]:
        """Pods that have a worker and a spec, terminated ones too."""
        return [worker.pod for worker in self._workers.values() if worker.pod is not None]

    def get(self, uid: str) -> PodWorker | None:
        return self._workers.get(uid)

    def adopt_orphans(self, found: Iterable[str]) -> None:
        """End what the runtime or the disk still has of pods that no source knows.

        Called regularly once the sources have told all their pods.
        """
        for uid in [uid for uid, worker in self._workers.items() if worker.finished]:
            del self._workers[uid]
        for uid in sorted(found):
            if uid not in self._workers:
                self._workers[uid] = PodWorker(uid, self._parts, None)

    async def remove_ended(self) -> None:
        """Give up what terminated pods are kept for: their containers."""
        for worker in list(self._workers.values()):
            if worker.terminated and not worker.finished:
                await remove_pod(await self._parts.reader.pod(worker.uid), self._parts)

    async def close(self) -> None:
        """Stop all workers; containers live on."""
        await asyncio.gather(*(worker.close() for worker in self._workers.values()))
