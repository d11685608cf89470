"""Registration: create the Nodes, keep their Leases and report their status, as kubelets do."""

import logging
from functools import partial

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import LEASES, NODES
from kybern.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.hollow.agenda import Agenda
from kybern.hollow.config import Config
from kybern.hollow.nodes import LEASE_NAMESPACE, HollowNode, node_conditions

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Registration:
    """All nodes of one process."""

    def __init__(
        self, client: Client, clock: Clock, config: Config, agenda: Agenda, nodes: list[HollowNode]
    ) -> None:
        self._client = client
        self._clock = clock
        self._config = config
        self._agenda = agenda
        self._nodes = nodes

    def start(self) -> None:
        """Put every node's first steps on the agenda."""
        for node in self._nodes:
            self._agenda.after(0, partial(self._register, node))

    async def _register(self, node: HollowNode) -> None:
        now = self._clock.timestamp()
        try:
            try:
                known = await self._client.create(NODES, node.object(now))
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                known = await self._client.get(NODES, node.name)
            status = known.get("status") or {}
            if not status.get("allocatable") or not _is_ready(status):
                known = await self._patch_status(node, node.status(now))
        except (StatusError, ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.info("registering %s: %s", node.name, error)
            self._agenda.after(RETRY_SECONDS, partial(self._register, node))
            return
        node.uid = known["metadata"]["uid"]
        node.use_network((known.get("spec") or {}).get("podCIDR", ""))
        # Renewals of many nodes spread over the interval instead of coming all at once.
        spread = self._clock.random.random()
        report = self._config.status_report_seconds
        self._agenda.after(0, partial(self._renew, node, spread))
        self._agenda.after(report * (0.5 + spread), partial(self._report, node))

    async def _renew(self, node: HollowNode, share: float = 1.0) -> None:
        """Renew the Lease as last seen; after a failure, look at it again, and soon.

        Failures are retried well within the interval, because an API server that comes and goes
        would otherwise miss one renewal after the other until the node counts as dead.
        """
        now = self._clock.micro_timestamp()
        seconds = self._config.lease_renew_seconds
        retry = min(seconds, RETRY_SECONDS * (1 + self._clock.random.random()))
        try:
            if node.held_lease is None:
                node.held_lease = await self._take_lease(node, now)
            else:
                node.held_lease = await self._client.update(LEASES, node.lease(now))
            if node.declared_dead:
                alive = node_conditions(self._clock.timestamp())
                await self._patch_status(node, {"conditions": alive})
        except StatusError as error:
            logger.info("lease of %s: %s", node.name, error)
            node.held_lease = None
            share, seconds = 1.0, retry
        except (ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.info("lease of %s: %s", node.name, error)
            share, seconds = 1.0, retry
        self._agenda.after(seconds * share, partial(self._renew, node))

    async def _take_lease(self, node: HollowNode, now: str) -> Obj:
        """Make the Lease, or renew the one that is there already."""
        try:
            return await self._client.create(LEASES, node.lease(now), LEASE_NAMESPACE)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
        node.held_lease = await self._client.get(LEASES, node.name, LEASE_NAMESPACE)
        return await self._client.update(LEASES, node.lease(now))

    async def _report(self, node: HollowNode) -> None:
        """The heartbeat of an unchanged status."""
        now = self._clock.timestamp()
        beats = [
            {"type": c["type"], "status": c["status"], "lastHeartbeatTime": now}
            for c in node_conditions(now)
        ]
        try:
            await self._patch_status(node, {"conditions": beats})
        except (StatusError, ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.info("status of %s: %s", node.name, error)
        self._agenda.after(self._config.status_report_seconds, partial(self._report, node))

    async def _patch_status(self, node: HollowNode, status: Obj) -> Obj:
        return await self._client.patch(
            NODES, node.name, {"status": status}, kind="strategic", subresource="status"
        )


def _is_ready(status: Obj) -> bool:
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()
    )
