"""Keeps one certificate good: asks for it where it is missing, and anew before it ends.

A certificate is replaced after 70 to 90 % of its life, by chance, so that nodes that came up
together do not all ask at once; and at once when it does not name what it has to. A request that
fails is tried again after 2, 4, 8 and 16 seconds, and every 32 seconds from then on.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta

from cryptography import x509

from kybern.api.errors import StatusError
from kybern.client.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.pki import InvalidPair, KeyPair
from kybern.kubelet.certificates import requests
from kybern.kubelet.certificates.metrics import CertificateMetrics
from kybern.kubelet.certificates.requests import Purpose, RequestRefused, Template
from kybern.kubelet.certificates.store import CertificateStore

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 32.0
PAUSE_JITTER = 0.1
# A request that nobody has answered for so long is looked at anew: it may be gone, or the node may
# have other addresses by now.
ANSWER_SECONDS = 900.0
# How soon other addresses, or a clock that was set, are noticed.
LOOK_SECONDS = 30.0
LEAST_SECONDS = 1.0
EARLIEST, LATEST = 0.7, 0.9


class CertificateManager:
    """One certificate of the node.

    ``template`` says what it is to name (None: not known yet), ``asking`` opens a client to ask
    with, ``on_change`` is told of every new pair.
    """

    def __init__(
        self,
        store: CertificateStore,
        purpose: Purpose,
        template: Callable[[], Template | None],
        asking: Callable[[], contextlib.AbstractAsyncContextManager[Client]],
        clock: Clock,
        metrics: CertificateMetrics,
        on_change: Callable[[KeyPair], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._purpose = purpose
        self._template = template
        self._asking = asking
        self._clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._pair: KeyPair | None = None
        self._deadline: datetime | None = None
        metrics.ttl.set_function(self._seconds_left)
        if (found := store.current()) is not None:
            self._take(found)

    @property
    def current(self) -> KeyPair | None:
        """The pair to present; None while there is none that is still valid."""
        if self._pair is None or self._clock.now() >= self._pair.certificate.not_valid_after_utc:
            return None
        return self._pair

    def start_from(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Begin with a pair that was made elsewhere, and replace it as soon as possible.

        A pair in the store that is still valid is preferred.
        """
        if self.current is None:
            self._take(self._store.update(certificate_pem, key_pem, self._clock.now()))
            self._deadline = self._clock.now()

    async def run(self) -> None:
        """Keep the certificate good until cancelled."""
        while True:
            await self._until_due()
            await self.renew()
            # A signer that leaves out what was asked for is asked again, but not without a pause.
            await asyncio.sleep(LEAST_SECONDS)

    async def renew(self) -> None:
        """Get a certificate, however often that has to be tried."""
        for pause in self._pauses():
            template = self._template()
            if template is not None and await self._succeeds(template):
                return
            await asyncio.sleep(pause)

    async def _succeeds(self, template: Template) -> bool:
        try:
            await self._ask(template)
        except TimeoutError:
            self._failed("certificate request was not signed")
        # OSError, ValueError: credentials or a directory that cannot be used may be repaired.
        except (StatusError, RequestRefused, InvalidPair, OSError, ValueError) as error:
            self._failed(str(error))
        else:
            return True
        return False

    async def _ask(self, template: Template) -> None:
        key = self._store.pending_key()
        # Who is known only by a certificate that ends has to ask as somebody else then.
        current, patience = self.current, ANSWER_SECONDS
        if current is not None:
            patience = min(patience, self._seconds_left() + 1)
        known = current is not None or self._purpose is requests.SERVING
        async with self._asking() as client, asyncio.timeout(patience):
            try:
                certificate = await requests.ask(client, self._purpose, template, key, known=known)
            except RequestRefused:
                self._store.forget_pending_key()
                raise
        old = self._pair
        try:
            pair = self._store.update(certificate, pki.private_pem(key), self._clock.now())
        except InvalidPair:
            self._store.forget_pending_key()
            raise
        self._take(pair)
        if old is not None and self._metrics.age is not None:
            lived = self._clock.now() - old.certificate.not_valid_before_utc
            self._metrics.age.observe(lived.total_seconds())
        if self._on_change is not None:
            await self._on_change(pair)

    def _take(self, pair: KeyPair) -> None:
        self._pair = pair
        self._deadline = rotation_deadline(pair.certificate, self._clock.random.random())
        logger.info(
            "certificate for %s ends %s and is renewed %s",
            self._purpose.signer,
            pair.certificate.not_valid_after_utc,
            self._deadline,
        )

    async def _until_due(self) -> None:
        while True:
            template = self._template()
            if template is not None and not self._satisfies(template):
                return
            now = self._clock.now()
            if template is not None and self._deadline is not None and now >= self._deadline:
                return
            left = LOOK_SECONDS
            if self._deadline is not None and now < self._deadline:
                left = min(left, (self._deadline - now).total_seconds())
            await asyncio.sleep(left)

    def _satisfies(self, template: Template) -> bool:
        return self._pair is not None and template.satisfied_by(self._pair.certificate)

    def _pauses(self) -> Iterator[float]:
        pause = FIRST_PAUSE_SECONDS
        while True:
            yield pause * (1 + PAUSE_JITTER * self._clock.random.random())
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _failed(self, problem: str) -> None:
        self._metrics.errors.inc()
        logger.warning("no certificate from %s: %s", self._purpose.signer, problem)

    def _seconds_left(self) -> float:
        if self._pair is None:
            return math.inf
        left = self._pair.certificate.not_valid_after_utc - self._clock.now()
        return math.trunc(left.total_seconds())


def rotation_deadline(certificate: x509.Certificate, chance: float) -> datetime:
    """When a certificate is to be replaced; ``chance`` is between 0 and 1."""
    start = certificate.not_valid_before_utc
    life: timedelta = certificate.not_valid_after_utc - start
    return start + life * (EARLIEST + (LATEST - EARLIEST) * chance)
