"""The node's Lease: a heartbeat that costs little."""

import asyncio
import logging

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import LEASES
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock

logger = logging.getLogger(__name__)

NAMESPACE = "kube-node-lease"
DURATION_SECONDS = 40
RENEW_SECONDS = 10.0
RETRY_SECONDS = 1.0


class NodeLease:
    """Renews one node's Lease until cancelled."""

    def __init__(self, client: Client, clock: Clock, node_name: str) -> None:
        self._client = client
        self._clock = clock
        self._name = node_name
        self._lease: Obj | None = None
        self.node_uid = ""

    async def run(self) -> None:
        while True:
            try:
                await self._renew()
                await asyncio.sleep(RENEW_SECONDS)
            except (StatusError, ApiUnreachable) as error:
                logger.warning("lease of node %s not renewed: %s", self._name, error)
                self._lease = None
                await asyncio.sleep(RETRY_SECONDS)

    async def _renew(self) -> None:
        if self._lease is None:
            self._lease = await self._find()
        renewed = {
            **self._lease,
            "spec": {**self._lease["spec"], "renewTime": self._clock.micro_timestamp()},
        }
        if "resourceVersion" in self._lease["metadata"]:
            self._lease = await self._client.update(LEASES, renewed)
        else:
            self._lease = await self._client.create(LEASES, renewed, NAMESPACE)

    async def _find(self) -> Obj:
        """The Lease as it is, or a fresh one that is still to be created."""
        try:
            return await self._client.get(LEASES, self._name, NAMESPACE)
        except StatusError as error:
            if error.code != 404:
                raise
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": self.node_uid}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name,
                "namespace": NAMESPACE,
                **({"ownerReferences": [owner]} if self.node_uid else {}),
            },
            "spec": {"holderIdentity": self._name, "leaseDurationSeconds": DURATION_SECONDS},
        }
