"""The certificates of ClusterTrustBundles that pods mount (KEP-3257), always as they are now.

``payloads.py`` reads them here. The bundles are watched from the first pod that mounts one until
the last such pod is gone, all of them, as a node may; so a node whose pods mount none asks nothing.
A change wakes the pods that it concerns. Memory is bounded by what the server holds.
"""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable, Iterable

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CLUSTER_TRUST_BUNDLES, Resource
from kybern.api.selectors import LabelSelector
from kybern.api.validation.pem import pem_blocks
from kybern.client.client import Client
from kybern.client.informer import Informer
from kybern.component.clock import Clock
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes.payloads import NO_TRUST_BUNDLES, VolumeError

logger = logging.getLogger(__name__)

SYNC_SECONDS = 10.0
MAX_SELECTOR = 100 * 1024
_VERSIONS = (CLUSTER_TRUST_BUNDLES, CLUSTER_TRUST_BUNDLES._replace(version="v1alpha1"))

# What a source asks for: a signer's bundles, or one bundle by its name.
_Wanted = tuple[str, str]


class TrustBundles:
    """One node's; ``on_change`` is told the UID of each pod that a change concerns."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.on_change: Callable[[str], None] = lambda uid: None
        self._client = client
        self._salt = clock.random.randbytes(16)
        self._beginning = asyncio.Lock()
        self._informer: Informer | None = None
        self._task: asyncio.Task[None] | None = None
        self._users: dict[str, dict[_Wanted, None]] = {}
        self._decoded: dict[str, list[bytes]] = {}

    async def anchors(self, pod: Obj, source: Obj) -> bytes:
        """The certificates (PEM) that a ``clusterTrustBundle`` source selects.

        Each is there once, without headers or comments, in an order that is this kubelet's own and
        stays while it runs. Raises VolumeError.
        """
        wanted = (source.get("signerName") or "", source.get("name") or "")
        self._users.setdefault(spec.uid(pod), {})[wanted] = None
        informer = await self._watched()
        optional = bool(source.get("optional"))
        if source.get("name") is not None:
            return self._pem(_by_name(informer, source["name"], optional))
        return self._pem(_by_signer(informer, source, optional))

    def forget(self, uid: str) -> None:
        """The pod is gone from this node."""
        self._users.pop(uid, None)
        if not self._users:
            self._end()

    async def close(self) -> None:
        """End the watch."""
        task = self._task
        self._end()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _watched(self) -> Informer:
        """The bundles, synced; raises VolumeError."""
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                async with self._beginning:
                    informer = await self._begun()
                await informer.wait_synced()
        except TimeoutError:
            raise VolumeError("ClusterTrustBundle informer has not yet synced") from None
        return informer

    async def _begun(self) -> Informer:
        if self._informer is not None and self._task is not None and not self._task.done():
            return self._informer
        self._end()
        resource = await self._served()
        if resource is None:
            raise VolumeError(NO_TRUST_BUNDLES)
        informer = self._informer = Informer(self._client, resource)
        informer.on_change(self._changed)
        self._task = asyncio.create_task(informer.run(), name=f"informer {resource.qualified}")
        logger.info("%s are watched from now on", resource.qualified)
        return informer

    async def _served(self) -> Resource | None:
        for resource in _VERSIONS:
            if await self._client.serves(resource):
                return resource
        return None

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._informer = self._task = None
        self._decoded.clear()

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        bundle = new or old or {}
        name = bundle["metadata"]["name"]
        self._decoded.pop(name, None)
        if self._informer is None or not self._informer.synced():
            return
        touched = ((bundle["spec"].get("signerName") or "", ""), ("", name))
        for uid, wanted in self._users.items():
            if any(one in wanted for one in touched):
                self.on_change(uid)

    def _pem(self, bundles: Iterable[Obj]) -> bytes:
        anchors = {anchor: None for bundle in bundles for anchor in self._anchors(bundle)}
        ordered = sorted(anchors, key=lambda der: hashlib.blake2b(der, key=self._salt).digest())
        return "".join(map(ssl.DER_cert_to_PEM_cert, ordered)).encode()

    def _anchors(self, bundle: Obj) -> list[bytes]:
        """A bundle's certificates, decoded once for each version of it."""
        name = bundle["metadata"]["name"]
        if name not in self._decoded:
            text = bundle["spec"].get("trustBundle") or ""
            self._decoded[name] = [block.content for block in pem_blocks(text)]
        return self._decoded[name]


def _by_name(informer: Informer, name: str, optional: bool) -> list[Obj]:
    found = informer.get(name)
    if found is None and not optional:
        absent = f'clustertrustbundle.certificates.k8s.io "{name}" not found'
        raise VolumeError(f"while getting ClusterTrustBundle: {absent}")
    return [] if found is None else [found]


def _by_signer(informer: Informer, source: Obj, optional: bool) -> list[Obj]:
    """A signer's bundles; without a selector none, with an empty one all."""
    try:
        selector = LabelSelector.from_object(source.get("labelSelector"))
    except StatusError as error:
        raise VolumeError(f"while parsing label selector: {error}") from None
    length = len(str(selector))
    if length > MAX_SELECTOR:
        raise VolumeError(f"label selector length ({length}) is larger than {MAX_SELECTOR}")
    found = [
        bundle
        for bundle in informer.list()
        if bundle["spec"].get("signerName") == source.get("signerName")
        and selector.matches(bundle["metadata"].get("labels"))
    ]
    if not found and not optional:
        raise VolumeError(
            "combination of signerName and labelSelector matched zero ClusterTrustBundles"
        )
    return found
