"""Reads from a cluster what scheduling rests on; reading is all that it does."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from kybern.api.errors import StatusError
from kybern.api.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    DAEMON_SETS,
    DEPLOYMENTS,
    DEVICE_CLASSES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    PRIORITY_CLASSES,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    Resource,
)
from kybern.client import Client
from kybern.scheduler.simulate import Snapshot

Obj = dict[str, Any]

NEEDED = (NODES, PODS)
HELPFUL = (
    NAMESPACES,
    SERVICES,
    REPLICATION_CONTROLLERS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DEPLOYMENTS,
    DAEMON_SETS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    CSI_NODES,
    CSI_DRIVERS,
    CSI_STORAGE_CAPACITIES,
    VOLUME_ATTACHMENTS,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
    DEVICE_CLASSES,
    PRIORITY_CLASSES,
    POD_DISRUPTION_BUDGETS,
)
OWNERS = (REPLICATION_CONTROLLERS, REPLICA_SETS, STATEFUL_SETS)


@dataclass
class ClusterObjects:
    """Objects by kind. ``unread`` are resources that the user may not read."""

    by_kind: dict[str, list[Obj]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def of(self, resource: Resource) -> list[Obj]:
        return self.by_kind.setdefault(resource.kind, [])

    def put(self, obj: Obj) -> None:
        """Add an object, in place of one of the same name."""
        there = self.by_kind.setdefault(obj["kind"], [])
        there[:] = [one for one in there if _identity(one) != _identity(obj)] + [obj]

    def find(self, kind: str, namespace: str, name: str) -> Obj | None:
        there = self.by_kind.get(kind, ())
        return next((one for one in there if _identity(one) == (namespace, name)), None)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            nodes=self.of(NODES),
            pods=self.of(PODS),
            namespaces=self.of(NAMESPACES),
            services=self.of(SERVICES),
            owners=[one for resource in OWNERS for one in self.of(resource)],
            claims=self.of(PERSISTENT_VOLUME_CLAIMS),
            volumes=self.of(PERSISTENT_VOLUMES),
            storage_classes=self.of(STORAGE_CLASSES),
            csi_nodes=self.of(CSI_NODES),
            csi_drivers=self.of(CSI_DRIVERS),
            capacities=self.of(CSI_STORAGE_CAPACITIES),
            attachments=self.of(VOLUME_ATTACHMENTS),
            resource_claims=self.of(RESOURCE_CLAIMS),
            resource_slices=self.of(RESOURCE_SLICES),
            device_classes=self.of(DEVICE_CLASSES),
            budgets=self.of(POD_DISRUPTION_BUDGETS),
        )


async def read_cluster(client: Client) -> ClusterObjects:
    """All of it; raises StatusError if nodes or pods may not be read."""
    found = ClusterObjects()
    for resource in NEEDED:
        found.by_kind[resource.kind], _ = await client.list_all(resource)
    lists = await asyncio.gather(*(_list_or_none(client, one) for one in HELPFUL))
    for resource, objects in zip(HELPFUL, lists, strict=True):
        if objects is None:
            found.unread.append(resource.qualified)
        found.by_kind[resource.kind] = objects or []
    return found


async def _list_or_none(client: Client, resource: Resource) -> list[Obj] | None:
    """The objects; none where the server has no such kind, None where they may not be read."""
    try:
        return (await client.list_all(resource))[0]
    except StatusError as error:
        if error.code == 404:
            return []
        if error.code == 403:
            return None
        raise


def _identity(obj: Obj) -> tuple[str, str]:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]
