"""One leader among the replicas of a component, by a Lease (coordination.k8s.io).

A candidate takes the Lease when it is free or has not been renewed for its duration, as observed
on the candidate's own clock, renews it while it leads, and gives it up when it stops. Names,
defaults and record fields are those of client-go's leader election, so that Kybern's and
upstream's components stand in one election.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import LEASES
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock

logger = logging.getLogger(__name__)


class LeadershipLost(Exception):
    """The Lease could not be renewed in time; what needs it was cancelled."""


class LeaderElector:
    """A candidate called ``identity`` for the Lease ``namespace/name``; times in seconds."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        lease_seconds: int = 15,
        renew_deadline: float = 10,
        retry_period: float = 2,
    ) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._identity = identity
        self._namespace = namespace
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._observed: tuple[object, ...] = ()
        self._observed_at = 0.0
        self._renewed_at = 0.0
        self.leading = False

    def overdue(self) -> float:
        """For how many seconds a leader's Lease has been over; others may lead meanwhile."""
        since = asyncio.get_running_loop().time() - self._renewed_at
        return max(0.0, since - self._lease_seconds) if self.leading else 0.0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then run ``lead`` while it is held.

        Returns when ``lead`` does; raises LeadershipLost when the Lease is lost.
        """
        while not await self._try():
            jitter = 1 + 1.2 * self._clock.random.random()
            await asyncio.sleep(self._retry_period * jitter)
        logger.info("%s leads %s/%s", self._identity, self._namespace, self._name)
        self.leading, self._renewed_at = True, asyncio.get_running_loop().time()
        work = asyncio.ensure_future(lead())
        renewal = asyncio.create_task(self._renew())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                renewal.result()
        finally:
            self.leading = False
            for task in (work, renewal):
                task.cancel()
            await asyncio.gather(work, renewal, return_exceptions=True)
            with contextlib.suppress(StatusError, ApiUnreachable):
                await self._release()

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._retry_period)
            if await self._try():
                self._renewed_at = loop.time()
            elif loop.time() - self._renewed_at > self._renew_deadline:
                raise LeadershipLost(f"{self._namespace}/{self._name}")

    async def _try(self) -> bool:
        """Take or renew the Lease; False if another candidate holds it or the server is away."""
        try:
            async with asyncio.timeout(self._renew_deadline):
                return await self._take()
        except (StatusError, ApiUnreachable, TimeoutError) as error:
            logger.debug("lease %s/%s: %s", self._namespace, self._name, error)
            return False

    async def _take(self) -> bool:
        now = self._clock.micro_timestamp()
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            spec = self._spec(now, now, 0)
            meta = {"name": self._name, "namespace": self._namespace}
            await self._client.create(LEASES, {"metadata": meta, "spec": spec})
            return True
        spec = lease.setdefault("spec", {})
        holder = spec.get("holderIdentity", "")
        if holder != self._identity and holder and not self._is_expired(spec):
            return False
        transitions = spec.get("leaseTransitions", 0)
        if holder == self._identity:
            lease["spec"] = {**spec, **self._spec(spec.get("acquireTime", now), now, transitions)}
        else:
            lease["spec"] = {**spec, **self._spec(now, now, transitions + 1)}
        await self._client.update(LEASES, lease)
        return True

    def _is_expired(self, spec: Obj) -> bool:
        """Not changed for its own duration, by this process's clock: clocks may differ."""
        seen = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        now = asyncio.get_running_loop().time()
        if seen != self._observed:
            self._observed, self._observed_at = seen, now
            return False
        return now - self._observed_at > spec.get("leaseDurationSeconds", self._lease_seconds)

    def _spec(self, acquired: str, renewed: str, transitions: int) -> Obj:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._lease_seconds,
            "acquireTime": acquired,
            "renewTime": renewed,
            "leaseTransitions": transitions,
        }

    async def _release(self) -> None:
        async with asyncio.timeout(self._retry_period):
            lease = await self._client.get(LEASES, self._name, self._namespace)
            if lease.get("spec", {}).get("holderIdentity") == self._identity:
                now = self._clock.micro_timestamp()
                transitions = lease["spec"].get("leaseTransitions", 0)
                lease["spec"] = self._spec(now, now, transitions)
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.update(LEASES, lease)
