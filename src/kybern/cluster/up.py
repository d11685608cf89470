"""``kybern up``: from a data directory to a cluster that is ready, in visible steps.

Starts the supervisor of the control plane, waits for the API, starts the real nodes and waits
until all wanted nodes are Ready. Idempotent: what runs already is left alone, and after a reboot
the record brings the same cluster back.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import LEASES, NODES
from kybern.client import ApiUnreachable, Client
from kybern.cluster import credentials, supervisor
from kybern.cluster.progress import Steps
from kybern.cluster.record import Record
from kybern.component.clock import Clock

if TYPE_CHECKING:
    from kybern.cluster.machine import Machine

POLL_SECONDS = 0.05
LOCAL = "127.0.0.1"
LEASE_NAMESPACE = "kube-node-lease"


class StartFailed(click.ClickException):
    """The cluster did not come up; the message says what to look at."""


async def bring_up(record: Record, timeout: float, steps: Steps) -> None:
    """Return once the API is ready and all wanted nodes are Ready; raises StartFailed."""
    clock = Clock()
    runs_already = supervisor.running(record.data_dir) is not None
    since = 0.0 if runs_already else clock.time()
    try:
        async with asyncio.timeout(timeout):
            if record.nodes and not runs_already:
                with steps.step("preflight"):
                    warnings = await asyncio.to_thread(_preflight, record)
                for text in warnings:
                    steps.say(text)
            machine = await _machine(record)
            record = replace(record, advertise_address=machine.gateway if machine else LOCAL)
            record.save()
            with steps.step("control plane"):
                _start_control_plane(record, clock)
                client = await _ready_client(record, clock)
            try:
                if machine is not None:
                    with steps.step("node" if record.nodes == 1 else f"{record.nodes} nodes"):
                        await machine.start_nodes(record, clock, client)
                with steps.step(_node_title(record)):
                    await _wait_for_nodes(record, client, since, steps)
            finally:
                await client.close()
    except TimeoutError:
        raise StartFailed(
            f"not ready after {timeout:.0f} s; the logs in {record.logs} say why. "
            "What runs was left running: 'kybern status' shows it, 'kybern down' stops it."
        ) from None


def _preflight(record: Record) -> list[str]:
    """What is not perfect; raises ClickException for what would keep nodes from working."""
    from kybern.cluster.findings import require
    from kybern.cluster.preflight import Plan

    # Namespaced nodes have all ports of their own.
    ports = (record.secure_port, *(Plan.ports[1:] if record.nodes == 1 else ()))
    plan = Plan(record.cluster_cidr, record.service_cluster_ip_range, ports)
    return [f"{one.name}: {one.detail} ({one.fix})" for one in require(plan)]


async def _machine(record: Record) -> "Machine | None":
    """What real nodes stand on; without any, nothing of it is even imported."""
    if not record.nodes:
        return None
    from kybern.cluster.machine import Machine

    return await Machine.prepare(record)


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


def _node_title(record: Record) -> str:
    wanted = record.nodes + record.simulated_nodes
    return f"{wanted} node{'s' if wanted != 1 else ''} Ready"


async def _wait_for_nodes(record: Record, client: Client, since: float, steps: Steps) -> None:
    """Wait until the wanted number of nodes is Ready and has shown life after ``since``.

    The store remembers how nodes were before a stop: only a renewed Lease says how they are.
    """
    wanted = record.nodes + record.simulated_nodes
    while True:
        ready = 0
        try:
            nodes, _ = await client.list_all(NODES)
            leases, _ = await client.list_all(LEASES, LEASE_NAMESPACE)
            alive = {objects.name(lease) for lease in leases if _renewed(lease) >= since}
            ready = sum(
                objects.condition_is(node, "Ready") and objects.name(node) in alive
                for node in nodes
            )
        except (ApiUnreachable, StatusError) as error:
            steps.detail(str(error))
        if ready >= wanted:
            return
        steps.detail(f"{ready} of {wanted}")
        await asyncio.sleep(POLL_SECONDS)


def _renewed(lease: Obj) -> float:
    text = objects.spec(lease).get("renewTime")
    return objects.epoch(text) if text else 0.0
