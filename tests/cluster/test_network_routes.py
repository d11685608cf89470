"""Routes between nodes, in a network namespace of the test's own."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from network_lab import SILENCE, Lab, inside, needs_root, run
from test_network_services import VIP, NodeTable, service

from kybern.network.nftables.transport import LibNftables
from kybern.network.routes import Route, reconcile

pytestmark = [needs_root, pytest.mark.root]


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    yield made
    await made.close()


def routes(lab: Lab) -> list[str]:
    text = run("ip", "-n", lab.one.namespace, "-o", "route", "show", "proto", "121")
    return sorted(" ".join(line.split()[:5]) for line in text.splitlines())


async def wanted(lab: Lab, *routes: Route) -> list[str]:
    """Reconcile on node one, in a thread as the callers do."""

    def work() -> list[str]:
        with inside(lab.one.namespace):
            return reconcile(routes)

    return await asyncio.to_thread(work)


async def test_the_kernel_s_routes_become_the_wanted_ones_and_others_stay(lab: Lab) -> None:
    lab._route(lab.one, "10.99.0.0/16", lab.two.address)
    for _ in range(2):
        assert await wanted(lab, Route("10.244.8.0/24", "192.168.77.2")) == []
        assert routes(lab) == ["10.244.8.0/24 via 192.168.77.2 dev eth0"]
    await wanted(
        lab, Route("10.244.8.0/24", "192.168.77.3"), Route("10.244.9.0/24", "192.168.77.2")
    )
    assert routes(lab) == [
        "10.244.8.0/24 via 192.168.77.3 dev eth0",
        "10.244.9.0/24 via 192.168.77.2 dev eth0",
    ]
    assert await wanted(lab) == [] and routes(lab) == []
    assert "10.99.0.0/16" in run("ip", "-n", lab.one.namespace, "route")


async def test_a_node_that_is_on_no_common_link_is_reported(lab: Lab) -> None:
    run("ip", "-n", lab.one.namespace, "route", "del", "default")
    (problem,) = await wanted(lab, Route("10.244.8.0/24", "203.0.113.9"))
    assert problem.startswith("route to 10.244.8.0/24 by 203.0.113.9: ")


async def test_services_work_on_a_machine_without_a_default_route(lab: Lab) -> None:
    pod = lab.pod(lab.one, 5)
    await pod.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    table.service(service(), (pod.address, "one"))
    run("ip", "-n", lab.one.namespace, "route", "del", "default")
    with pytest.raises((OSError, TimeoutError)):
        await lab.one.ask(VIP, 80, patience=SILENCE)
    assert await wanted(lab, Route("10.96.0.0/16", source=lab.one.address)) == []
    assert (await lab.one.ask(VIP, 80)).startswith("one-5 sees ")
