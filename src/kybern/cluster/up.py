"""``kybern up``: from a data directory to a cluster that is ready, in visible steps.

Starts the supervisor of the control plane, waits for the API, starts the real nodes and waits
until all wanted nodes are Ready. Idempotent: what runs already is left alone, and after a reboot
the record brings the same cluster back.
"""

import asyncio
from dataclasses import replace

import click

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import NODES
from kybern.client import ApiUnreachable, Client
from kybern.cluster import credentials, nodes, supervisor
from kybern.cluster.nodes import Node, NodeSpec
from kybern.cluster.nodes.switch import Switch, ensure_switch
from kybern.cluster.progress import Steps
from kybern.cluster.record import Record
from kybern.component.clock import Clock
from kybern.component.pki import local_host_name

POLL_SECONDS = 0.05
NODE_COMPONENTS = ("kubelet", "proxy", "dns")


class StartFailed(click.ClickException):
    """The cluster did not come up; the message says what to look at."""


async def bring_up(record: Record, timeout: float, steps: Steps) -> None:
    """Return once the API is ready and all wanted nodes are Ready; raises StartFailed."""
    clock = Clock()
    try:
        async with asyncio.timeout(timeout):
            switch = await ensure_switch(record.data_dir) if record.nodes > 1 else None
            record = _with_address(record, switch)
            record.save()
            with steps.step("control plane"):
                _start_control_plane(record, clock)
                client = await _ready_client(record, clock)
            try:
                await _start_nodes(record, switch, clock, client, steps)
                with steps.step(_node_title(record)):
                    await _wait_for_nodes(record, client, steps)
            finally:
                await client.close()
    except TimeoutError:
        raise StartFailed(
            f"not ready after {timeout:.0f} s; the logs in {record.logs} say why. "
            "What runs was left running: 'kybern status' shows it, 'kybern down' stops it."
        ) from None


def _with_address(record: Record, switch: Switch | None) -> Record:
    """Where nodes and pods reach the API server."""
    if switch is not None:
        return replace(record, advertise_address=switch.gateway)
    if record.nodes:
        return replace(record, advertise_address=nodes.machine_address())
    return record


def _start_control_plane(record: Record, clock: Clock) -> None:
    server = f"https://127.0.0.1:{record.secure_port}"
    if supervisor.running(record.data_dir) is None:
        credentials.issue_components(record.data_dir, server, clock)
        supervisor.start(record.data_dir)


async def _ready_client(record: Record, clock: Clock) -> Client:
    """A client of the administrator, once the API server says that it is ready."""
    while True:
        if record.kubeconfig.exists():
            client = Client.from_kubeconfig(str(record.kubeconfig), clock, user_agent="kybern")
            try:
                if (await client.request("GET", "/readyz")).status == 200:
                    return client
            except (ApiUnreachable, ValueError):
                pass
            await client.close()
        await asyncio.sleep(POLL_SECONDS)


async def _start_nodes(
    record: Record, switch: Switch | None, clock: Clock, client: Client, steps: Steps
) -> None:
    if not record.nodes:
        return
    components = tuple(name for name in NODE_COMPONENTS if name not in record.disable)
    with steps.step("node" if record.nodes == 1 else f"{record.nodes} nodes"):
        for index in range(record.nodes):
            name = local_host_name() if switch is None else f"node-{index + 1}"
            address = record.advertise_address if switch is None else switch.node_ip(index)
            server = f"https://{record.advertise_address}:{record.secure_port}"
            spec = NodeSpec(
                name=name,
                data_dir=record.data_dir,
                namespaced=switch is not None,
                node_ip=address,
                kubeconfig=credentials.issue_node(record.data_dir, name, server, clock),
                components=components,
            )
            steps.detail(name)
            await nodes.start(Node(spec))


def _node_title(record: Record) -> str:
    wanted = record.nodes + record.simulated_nodes
    return f"{wanted} node{'s' if wanted != 1 else ''} Ready"


async def _wait_for_nodes(record: Record, client: Client, steps: Steps) -> None:
    wanted = record.nodes + record.simulated_nodes
    while True:
        try:
            found, _ = await client.list_all(NODES)
        except (ApiUnreachable, StatusError):
            found = []
        ready = [node for node in found if objects.condition_is(node, "Ready")]
        if len(ready) >= wanted:
            return
        steps.detail(f"{len(ready)} of {wanted}")
        await asyncio.sleep(POLL_SECONDS)
