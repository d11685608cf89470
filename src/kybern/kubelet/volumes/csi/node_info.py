"""What the cluster knows of this node's drivers: the CSINode, and the Node's labels and annotation.

The scheduler reads limits and topology keys in the CSINode, and topology in the Node's labels;
attachers read the driver's name for the node.
"""

import json
from collections.abc import Callable
from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CSI_NODES, NODES
from kybern.client.client import Client

NODE_ID = "csi.volume.kubernetes.io/nodeid"
CONFLICT_TRIES = 10


class NodeInfo:
    """Writes them; raises StatusError, ApiUnreachable."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node

    async def install(self, driver: str, info: Any) -> None:
        """A driver serves this node; ``info`` is its NodeGetInfoResponse."""
        if not info.node_id:
            raise StatusError(400, "BadRequest", f"CSI driver {driver} has no name for the node")
        topology = dict(info.accessible_topology.segments)
        await self._write_node(driver, info.node_id, topology)
        entry: Obj = {"name": driver, "nodeID": info.node_id, "topologyKeys": sorted(topology)}
        if info.max_volumes_per_node > 0:
            entry["allocatable"] = {"count": min(info.max_volumes_per_node, 2**31 - 1)}
        await self._write_drivers(lambda held: [*_without(held, driver), entry])

    async def uninstall(self, driver: str) -> None:
        """A driver does not serve this node any more."""
        await self._write_drivers(lambda held: _without(held, driver))
        await self._write_node(driver, "", {})

    async def _write_node(self, driver: str, node_id: str, topology: dict[str, str]) -> None:
        node = await self._client.get(NODES, self._node)
        labels = objects.labels(node)
        for key, value in topology.items():
            if labels.get(key, value) != value:
                text = (
                    f'detected topology value collision: driver reported "{key}":"{value}" '
                    f'but existing label is "{key}":"{labels[key]}"'
                )
                raise StatusError(409, "Conflict", text)
        held = json.loads(objects.annotations(node).get(NODE_ID) or "{}")
        ids = {name: value for name, value in held.items() if name != driver}
        if node_id:
            ids[driver] = node_id
        if ids == held and all(labels.get(key) == value for key, value in topology.items()):
            return
        shown = json.dumps(ids, separators=(",", ":"), sort_keys=True) if ids else None
        patch = {"metadata": {"labels": topology, "annotations": {NODE_ID: shown}}}
        await self._client.patch(NODES, self._node, patch)

    async def ensure(self) -> Obj:
        """The node's CSINode, made if it is not there; it goes with the Node."""
        try:
            return await self._client.get(CSI_NODES, self._node)
        except StatusError as error:
            if error.code != 404:
                raise
        node = await self._client.get(NODES, self._node)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": objects.uid(node)}
        made = {
            "metadata": {"name": self._node, "ownerReferences": [owner]},
            "spec": {"drivers": []},
        }
        return await self._client.create(CSI_NODES, made)

    async def _write_drivers(self, change: Callable[[list[Obj]], list[Obj]]) -> None:
        for attempt in range(CONFLICT_TRIES):
            found = await self.ensure()
            held = objects.spec(found).get("drivers") or []
            wanted = change(held)
            if wanted == held:
                return
            try:
                await self._client.update(CSI_NODES, {**found, "spec": {"drivers": wanted}})
                return
            except StatusError as error:
                if error.code != 409 or attempt == CONFLICT_TRIES - 1:
                    raise


def _without(drivers: list[Obj], name: str) -> list[Obj]:
    return [driver for driver in drivers if driver["name"] != name]
