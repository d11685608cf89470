"""A signer of pod certificates and its authority, as somebody would bring one to a cluster."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CLUSTER_TRUST_BUNDLES, POD_CERTIFICATE_REQUESTS
from kybern.client import Client
from kybern.client.informer import Informer
from kybern.component.clock import Clock, rfc3339
from kybern.component.pki import CertificateAuthority

SIGNER = "example.com/signer"
HOUR = 3600
_PROSE = "issued by a test\n"


class PodSigner:
    """Answers the requests for one signer; ``verdict`` is Issued, Denied, Failed, or no answer."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.verdict = "Issued"
        self.seen: list[Obj] = []
        self.authority = CertificateAuthority.create("pod authority", clock)
        self._client = client
        self._clock = clock
        self._queue: asyncio.Queue[Obj] = asyncio.Queue()
        selector = f"spec.signerName={SIGNER}"
        self._informer = Informer(client, POD_CERTIFICATE_REQUESTS, field_selector=selector)
        self._informer.on_change(self._changed)

    async def run(self) -> None:
        """Sign until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run())
            while True:
                request = await self._queue.get()
                if self.verdict:
                    await self._answer(request)

    async def publish(self, name: str = "pods", **labels: str) -> None:
        """Publish the authority as a bundle of the signer."""
        text = _PROSE + self.authority.certificate_pem.decode()
        meta = {"name": f"{SIGNER.replace('/', ':')}:{name}", "labels": labels}
        bundle = {"metadata": meta, "spec": {"signerName": SIGNER, "trustBundle": text}}
        await self._client.create(CLUSTER_TRUST_BUNDLES, bundle)

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None and new is not None:
            self.seen.append(new)
            self._queue.put_nowait(new)

    async def _answer(self, request: Obj) -> None:
        now = self._clock.time()
        status: Obj = {
            "conditions": [
                {
                    "type": self.verdict,
                    "status": "True",
                    "reason": "Tested",
                    "message": "by a test",
                    "lastTransitionTime": rfc3339(now),
                }
            ]
        }
        if self.verdict == "Issued":
            begin, end = int(now), int(now) + HOUR
            status |= {
                "certificateChain": _PROSE + self._sign(request, begin, end).decode(),
                "notBefore": rfc3339(begin),
                "beginRefreshAt": rfc3339(end - HOUR // 4),
                "notAfter": rfc3339(end),
            }
        try:
            answered = {**request, "status": status}
            await self._client.update_status(POD_CERTIFICATE_REQUESTS, answered)
        except StatusError as error:
            if error.code != 404:
                raise

    def _sign(self, request: Obj, begin: int, end: int) -> bytes:
        stub = x509.load_der_x509_csr(base64.b64decode(request["spec"]["stubPKCS10Request"]))
        account = f"{objects.namespace(request)}/{request['spec']['serviceAccountName']}"
        issuer = self.authority.pair
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, account)]))
            .issuer_name(issuer.certificate.subject)
            .public_key(stub.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(begin, UTC))
            .not_valid_after(datetime.fromtimestamp(begin, UTC) + timedelta(seconds=end - begin))
        )
        made = builder.sign(issuer.key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)


@asynccontextmanager
async def signing_pods(client: Client, clock: Clock) -> AsyncIterator[PodSigner]:
    """A signer at work."""
    signer = PodSigner(client, clock)
    task = asyncio.create_task(signer.run())
    try:
        yield signer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
