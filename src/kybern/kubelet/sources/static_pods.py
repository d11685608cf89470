"""Runs the pods of manifest files, and shows them in the API as mirror pods.

A manifest that appears gets a pod worker; one that goes, or changes, ends it, and the changed pod
starts when the old one has left. The API server is told by a mirror pod, which carries the status
and is only a picture: deleting it ends nothing, it is made again.
"""

import asyncio
import logging
from collections.abc import Callable

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.kubelet.parts import NodeFacts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.sources.manifests import HASH_ANNOTATION, SEEN_ANNOTATION, Manifests
from kybern.kubelet.status.manager import StatusManager

logger = logging.getLogger(__name__)

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
LOOK_SECONDS = 1.0

_Name = tuple[str, str]


def is_mirror(pod: Obj) -> bool:
    """Whether the API's pod is the picture of a static pod."""
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {})


def _name(pod: Obj) -> _Name:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


class StaticPods:
    """One node's static pods; without a client they have no mirrors.

    ``others`` are those that no file declares; of two pods of one name that of a file runs.
    """

    def __init__(
        self,
        manifests: Manifests,
        workers: PodWorkers,
        status: StatusManager,
        client: Client | None,
        facts: NodeFacts,
        clock: Clock,
        others: Callable[[], list[Obj]] = list,
    ) -> None:
        self._manifests = manifests
        self._others = others
        self._workers = workers
        self._status = status
        self._client = client
        self._facts = facts
        self._clock = clock
        self._running: dict[_Name, Obj] = {}
        self._mirrors: dict[_Name, Obj] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow the files and keep the mirrors, until cancelled."""
        while True:
            await self.look()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue
            finally:
                self._changed.clear()

    async def look(self) -> None:
        """Bring pods to what the files say, and mirrors to what the pods are."""
        files = await asyncio.to_thread(self._manifests.read)
        wanted = {_name(pod): pod for pod in (*self._others(), *files)}
        for name, pod in list(self._running.items()):
            if name not in wanted or spec.uid(wanted[name]) != spec.uid(pod):
                self._workers.remove(spec.uid(pod))
                if self._has_left(spec.uid(pod)):
                    del self._running[name]
        for name, pod in wanted.items():
            if name not in self._running:
                self._start(pod)
        if self._client is not None and self._facts.node.get("metadata", {}).get("uid"):
            try:
                await self._reflect(self._client)
            except (StatusError, ApiUnreachable) as error:
                logger.warning("mirror pods not written: %s", error)

    def _has_left(self, uid: str) -> bool:
        worker = self._workers.get(uid)
        return worker is None or worker.finished

    def _start(self, pod: Obj) -> None:
        annotations = pod["metadata"]["annotations"]
        annotations.setdefault(SEEN_ANNOTATION, self._clock.micro_timestamp())
        self._running[_name(pod)] = pod
        self._workers.update(pod)

    def mirror_changed(self, old: Obj | None, new: Obj | None) -> None:
        """The informer's news of a mirror pod."""
        if new is not None:
            self._mirrors[_name(new)] = new
        elif old is not None:
            self._mirrors.pop(_name(old), None)
        self._changed.set()

    async def _reflect(self, client: Client) -> None:
        for name, mirror in list(self._mirrors.items()):
            pod = self._running.get(name)
            if pod is None or _outdated(mirror, pod):
                await _delete(client, mirror)
                self._mirrors.pop(name, None)
                if pod is not None:
                    self._status.mirror(spec.uid(pod), None)
        for name, pod in list(self._running.items()):
            if name not in self._mirrors:
                created = await self._create(client, pod)
                if created is not None:
                    self._mirrors[name] = created
            if name in self._mirrors:
                self._status.mirror(spec.uid(pod), self._mirrors[name])

    async def _create(self, client: Client, pod: Obj) -> Obj | None:
        """The mirror of a pod; None if the name is taken, and shows itself by the informer."""
        meta = pod["metadata"]
        kept = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
        node = self._facts.node["metadata"]
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": node["name"],
            "uid": node["uid"],
            "controller": True,
        }
        annotations = {
            **meta["annotations"],
            MIRROR_ANNOTATION: meta["annotations"][HASH_ANNOTATION],
        }
        mirror = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**kept, "annotations": annotations, "ownerReferences": [owner]},
            "spec": pod["spec"],
        }
        try:
            return await client.create(PODS, mirror)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            return None


def _outdated(mirror: Obj, pod: Obj) -> bool:
    shown = mirror["metadata"]["annotations"].get(MIRROR_ANNOTATION)
    return shown != pod["metadata"]["annotations"][HASH_ANNOTATION] or spec.is_deleted(mirror)


async def _delete(client: Client, mirror: Obj) -> None:
    namespace, name = _name(mirror)
    try:
        await client.delete(PODS, name, namespace, grace_period_seconds=0, uid=spec.uid(mirror))
    except StatusError as error:
        if error.code not in (404, 409):
            raise
