"""``kybern status``: what runs for a data directory, as data and as a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import NODES
from kybern.client import ApiUnreachable, Client
from kybern.cluster import supervisor
from kybern.cluster.record import Record
from kybern.component.clock import Clock


@dataclass(frozen=True)
class NodeStatus:
    name: str
    ready: bool
    address: str


@dataclass(frozen=True)
class ClusterStatus:
    """``state`` is ``stopped``, ``starting`` or ``ready``."""

    state: str
    data_dir: Path
    server: str
    kubeconfig: Path
    nodes: tuple[NodeStatus, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "dataDir": str(self.data_dir),
            "server": self.server,
            "kubeconfig": str(self.kubeconfig),
            "nodes": [
                {"name": one.name, "ready": one.ready, "address": one.address} for one in self.nodes
            ],
        }


async def cluster_status(data_dir: Path) -> ClusterStatus:
    """Look at the supervisor and ask the API server; raises FileNotFoundError if never started."""
    record = Record.load(data_dir)
    server = f"https://127.0.0.1:{record.secure_port}"
    if supervisor.running(data_dir) is None:
        return ClusterStatus("stopped", data_dir, server, record.kubeconfig, ())
    try:
        nodes = await _nodes(record)
    except (ApiUnreachable, StatusError, OSError, ValueError):
        return ClusterStatus("starting", data_dir, server, record.kubeconfig, ())
    return ClusterStatus("ready", data_dir, server, record.kubeconfig, nodes)


async def _nodes(record: Record) -> tuple[NodeStatus, ...]:
    client = Client.from_kubeconfig(str(record.kubeconfig), Clock())
    try:
        found, _ = await client.list_all(NODES)
    finally:
        await client.close()
    return tuple(
        NodeStatus(
            objects.name(node),
            objects.condition_is(node, "Ready"),
            next(
                (
                    one["address"]
                    for one in objects.status(node).get("addresses") or ()
                    if one["type"] == "InternalIP"
                ),
                "",
            ),
        )
        for node in found
    )


def show(status: ClusterStatus, console: Console) -> None:
    """Print for people."""
    colour = {"ready": "green", "starting": "yellow"}.get(status.state, "red")
    console.print(f"cluster     [{colour}]{status.state}[/{colour}]")
    console.print(f"server      {status.server}")
    console.print(f"kubeconfig  {status.kubeconfig}")
    if status.state == "stopped":
        console.print("\n'kybern up' starts it again as it was.")
        return
    table = Table("NODE", "READY", "ADDRESS", box=None, pad_edge=False)
    for node in status.nodes:
        ready = "[green]yes[/green]" if node.ready else "[red]no[/red]"
        table.add_row(node.name, ready, node.address)
    console.print(table)
