"""The credentials of one ``podCertificate`` source: asked for, kept, renewed, or refused for good.

A request that is denied or fails is final, as the signer means it: the pod gets no others, and one
that has credentials already keeps the files that it has. Everything else is tried again, with a
pause that grows. Renewals begin up to five minutes late, by chance, so that pods that began
together do not all ask at once.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import orjson

from kybern.api.errors import Obj, StatusError
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.kubelet.pod_certificates.keys import Keys, PodKey
from kybern.kubelet.pod_certificates.requests import (
    Issued,
    RequestGone,
    RequestRefused,
    Requests,
)
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes.payloads import VolumeError

logger = logging.getLogger(__name__)

REFRESH_JITTER_SECONDS = 300.0
# So long after it should have begun, a renewal is worth an event.
OVERDUE_SECONDS = 600.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 300.0
# How soon a clock that was set is noticed.
LOOK_SECONDS = 60.0
# Most signers answer at once, so a pod that starts waits for them a moment before it complains.
PATIENCE_SECONDS = 2.0


class Issuance:
    """One source's life.

    ``changed`` is called when there is something else to read, ``event`` with the reason and the
    message of what people should know.
    """

    def __init__(
        self,
        pod: Obj,
        source: Obj,
        keys: Keys,
        requests: Requests,
        clock: Clock,
        changed: Callable[[], None],
        event: Callable[[str, str], None],
    ) -> None:
        self.signer: str = source["signerName"]
        self._pod = pod
        self._source = source
        self._keys = keys
        self._requests = requests
        self._clock = clock
        self._changed = changed
        self._event = event
        self._began = clock.monotonic()
        self._settled = asyncio.Event()
        self._key = b""
        self._issued: Issued | None = None
        self._refusal: Obj | None = None

    def state(self) -> str:
        """The state, as metrics call it."""
        if self._refusal is not None:
            return str(self._refusal["type"]).lower()
        if self._issued is None:
            return "not_yet_issued"
        now = self._clock.time()
        if now >= self._issued.not_after:
            return "expired"
        overdue = self._issued.begin_refresh + OVERDUE_SECONDS
        return "overdue_for_refresh" if now >= overdue else "fresh"

    async def credentials(self) -> tuple[bytes, bytes]:
        """The key and the certificates (PEM); raises VolumeError while there are none."""
        left = self._began + PATIENCE_SECONDS - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._settled.wait()
        except TimeoutError:
            raise VolumeError("credential bundle is not issued yet") from None
        if self._refusal is not None:
            kind = self._refusal["type"].lower()
            raise VolumeError(
                f"PodCertificateRequest was permanently {kind}: "
                f"reason={_quoted(self._refusal, 'reason')} "
                f"message={_quoted(self._refusal, 'message')}"
            )
        assert self._issued is not None, "settled is issued or refused"
        return self._key, self._issued.chain

    async def run(self) -> None:
        """Get credentials and renew them until cancelled, or until they are refused."""
        ageing: asyncio.Task[None] | None = None
        try:
            while True:
                key, issued = await self._issue()
                if ageing is not None:
                    ageing.cancel()
                self._key, self._issued = key.pem, issued
                self._settle()
                ageing = asyncio.create_task(self._tell_age(issued))
                await self._until(issued.begin_refresh)
        except RequestRefused as refused:
            self._refuse(refused)
        finally:
            if ageing is not None:
                ageing.cancel()

    async def _issue(self) -> tuple[PodKey, Issued]:
        """A key and its certificates, however often they have to be asked for."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                key = await self._keys.make(self._source["keyType"])
                issued = await self._requests.ask(self._pod, self._source, key.stub)
                late = REFRESH_JITTER_SECONDS * self._clock.random.random()
                return key, replace(issued, begin_refresh=issued.begin_refresh + late)
            except (StatusError, ApiUnreachable, RequestGone, ValueError) as error:
                logger.warning("a certificate of %s: %s", spec.full_name(self._pod), error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _refuse(self, refused: RequestRefused) -> None:
        condition = self._refusal = refused.condition
        self._key, self._issued = b"", None
        self._settle()
        # Upstream formats this text by the reason, and so shows the reason with an error after it.
        verb = "was denied" if condition["type"] == "Denied" else "failed"
        self._event(
            condition["type"],
            f"PodCertificateRequest {refused.name} {verb}, "
            f"reason={_quoted(condition, 'reason')}, message={_quoted(condition, 'message')}",
        )

    def _settle(self) -> None:
        self._settled.set()
        self._changed()

    async def _tell_age(self, issued: Issued) -> None:
        """Events for credentials that are still there when they should not be."""
        overdue = issued.begin_refresh + OVERDUE_SECONDS
        moments = [
            (overdue, "CertificateOverdueForRefresh", "PodCertificate refresh overdue"),
            (issued.not_after, "CertificateExpired", "PodCertificate expired"),
        ]
        for moment, reason, message in sorted(moments):
            await self._until(moment)
            self._event(reason, message)

    async def _until(self, moment: float) -> None:
        while (left := moment - self._clock.time()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))


def _quoted(condition: Obj, field: str) -> str:
    return orjson.dumps(condition.get(field, "")).decode()
