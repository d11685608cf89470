"""PodCertificateRequests: made, followed to their answer, and read.

All requests of the node are watched together, with the field selector that a node needs, and only
while one of them waits for its answer.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import POD_CERTIFICATE_REQUESTS, SERVICE_ACCOUNTS
from kybern.api.validation.pem import pem_blocks
from kybern.client.client import Client
from kybern.client.informer import Informer, object_key
from kybern.kubelet.pods import spec


class RequestRefused(Exception):
    """The request was denied or has failed, which is final. ``name`` is the request's.

    ``condition`` is its condition Denied or Failed.
    """

    def __init__(self, name: str, condition: Obj) -> None:
        super().__init__(condition["type"])
        self.name = name
        self.condition = condition


class RequestGone(Exception):
    """Somebody deleted the request before it was answered."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Certificates (PEM, the pod's own first), when to renew and when they end (epoch seconds)."""

    chain: bytes
    begin_refresh: float
    not_after: float


class Requests:
    """The requests of one node; ``node`` tells the Node as it is."""

    def __init__(self, client: Client, node: Callable[[], Obj]) -> None:
        self._client = client
        self._node = node
        self._waiting: dict[str, asyncio.Event] = {}
        self._informer: Informer | None = None
        self._task: asyncio.Task[None] | None = None

    async def ask(self, pod: Obj, source: Obj, stub: bytes) -> Issued:
        """Ask for a certificate for the key of ``stub``, and wait for it however long that takes.

        Raises RequestRefused, RequestGone, and StatusError or ApiUnreachable like any call.
        """
        namespace = pod["metadata"]["namespace"]
        body = await self._body(pod, source, stub)
        made = await self._client.create(POD_CERTIFICATE_REQUESTS, body, namespace)
        async with self._watching(object_key(made)) as (informer, changed):
            return await _answer(informer, changed, made)

    async def close(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _body(self, pod: Obj, source: Obj, stub: bytes) -> Obj:
        meta = pod["metadata"]
        account_name = pod["spec"].get("serviceAccountName") or "default"
        account = await self._client.get(SERVICE_ACCOUNTS, account_name, meta["namespace"])
        node = self._node()["metadata"]
        body: Obj = {
            "signerName": source["signerName"],
            "podName": meta["name"],
            "podUID": spec.uid(pod),
            "serviceAccountName": account_name,
            "serviceAccountUID": objects.uid(account),
            "nodeName": node["name"],
            "nodeUID": node.get("uid", ""),
            "stubPKCS10Request": base64.b64encode(stub).decode(),
        }
        if source.get("maxExpirationSeconds") is not None:
            body["maxExpirationSeconds"] = source["maxExpirationSeconds"]
        if source.get("userAnnotations"):
            body["unverifiedUserAnnotations"] = source["userAnnotations"]
        owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": spec.uid(pod)}
        return {"metadata": {"generateName": "req-", "ownerReferences": [owner]}, "spec": body}

    @contextlib.asynccontextmanager
    async def _watching(self, key: str) -> AsyncIterator[tuple[Informer, asyncio.Event]]:
        """The node's requests, and what is set when this one changes."""
        changed = self._waiting[key] = asyncio.Event()
        try:
            yield self._watched(), changed
        finally:
            del self._waiting[key]
            if not self._waiting and self._task is not None:
                self._task.cancel()
                self._informer = self._task = None

    def _watched(self) -> Informer:
        if self._informer is None or self._task is None or self._task.done():
            node = self._node()["metadata"]["name"]
            informer = self._informer = Informer(
                self._client, POD_CERTIFICATE_REQUESTS, field_selector=f"spec.nodeName={node}"
            )
            informer.on_change(self._changed)
            self._task = asyncio.create_task(informer.run(), name="informer of pod certificates")
        return self._informer

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if event := self._waiting.get(object_key(new or old or {})):
            event.set()


async def _answer(informer: Informer, changed: asyncio.Event, made: Obj) -> Issued:
    await informer.wait_synced()
    while not await informer.reached(objects.resource_version(made)):
        # The server is away; what this shows is older than the request.
        continue
    while True:
        changed.clear()
        current = informer.get(object_key(made))
        if current is None or objects.uid(current) != objects.uid(made):
            raise RequestGone(f'PodCertificateRequest "{object_key(made)}" was deleted')
        if (issued := read(current)) is not None:
            return issued
        await changed.wait()


def read(request: Obj) -> Issued | None:
    """What a request was answered with, or None yet; raises RequestRefused."""
    for condition in objects.conditions(request):
        if condition["type"] in ("Denied", "Failed"):
            raise RequestRefused(object_key(request), condition)
        if condition["type"] == "Issued":
            status = objects.status(request)
            blocks = pem_blocks(status["certificateChain"])
            chain = "".join(ssl.DER_cert_to_PEM_cert(block.content) for block in blocks)
            refresh, end = status["beginRefreshAt"], status["notAfter"]
            return Issued(chain.encode(), objects.epoch(refresh), objects.epoch(end))
    return None
