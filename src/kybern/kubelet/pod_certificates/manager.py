"""The certificates of all pods of a node, by pod, volume and place in the volume.

``volumes/payloads.py`` reads them here, which is what begins them: the first read of a pod asks for
all that its volumes name. They end with the pod, and their keys with them.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from kybern.api.errors import Obj
from kybern.client.client import Client
from kybern.component.clock import Clock
from kybern.kubelet.pod_certificates import metrics
from kybern.kubelet.pod_certificates.issuance import Issuance
from kybern.kubelet.pod_certificates.keys import Keys
from kybern.kubelet.pod_certificates.requests import Requests
from kybern.kubelet.pods import spec

# The volume's name, and the place of the source in it.
_Place = tuple[str, int]


class PodCertificates:
    """One node's; ``on_change`` is told the UID of a pod that has other credentials now."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        node: Callable[[], Obj],
        event: Callable[[Obj, str, str, str], None],
    ) -> None:
        self.on_change: Callable[[str], None] = lambda uid: None
        self._clock = clock
        self._event = event
        self._keys = Keys()
        self._requests = Requests(client, node)
        self._issuances: dict[str, dict[_Place, Issuance]] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    async def credentials(self, pod: Obj, volume: str, index: int) -> tuple[bytes, bytes]:
        """The key and the certificates (PEM) of one source of a volume; raises VolumeError."""
        uid = spec.uid(pod)
        if uid not in self._issuances:
            self._begin(pod)
        return await self._issuances[uid][volume, index].credentials()

    def forget(self, uid: str) -> None:
        """The pod is gone from this node."""
        for task in self._tasks.pop(uid, ()):
            task.cancel()
        if self._issuances.pop(uid, None) is not None:
            self._count()

    async def close(self) -> None:
        """Stop renewing, and forget every key."""
        tasks = [task for held in self._tasks.values() for task in held]
        for uid in list(self._issuances):
            self.forget(uid)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._requests.close()

    def _begin(self, pod: Obj) -> None:
        uid = spec.uid(pod)

        def changed() -> None:
            self._count()
            self.on_change(uid)

        def event(reason: str, message: str) -> None:
            self._count()
            self._event(pod, "Warning", reason, message)

        issuances = self._issuances[uid] = {
            place: Issuance(pod, source, self._keys, self._requests, self._clock, changed, event)
            for place, source in _sources(pod)
        }
        self._tasks[uid] = [
            asyncio.create_task(issuance.run(), name=f"certificate of {spec.full_name(pod)}")
            for issuance in issuances.values()
        ]
        self._count()

    def _count(self) -> None:
        issuances = [one for held in self._issuances.values() for one in held.values()]
        metrics.show(Counter((issuance.signer, issuance.state()) for issuance in issuances))


def _sources(pod: Obj) -> Iterator[tuple[_Place, Obj]]:
    for volume in pod["spec"].get("volumes") or ():
        for index, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if declared := source.get("podCertificate"):
                yield (volume["name"], index), declared
