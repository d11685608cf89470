"""Services in nftables, with real packets between real network namespaces."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from network_lab import SILENCE, Host, Lab, UdpClient, inside, needs_root, run

from kybern.network import conntrack, sysctls
from kybern.network.endpoints import NodeView, choose, collect
from kybern.network.nftables.host_ports import host_port_fragment, node_addresses_fragment
from kybern.network.nftables.ruleset import EMPTY, Ruleset
from kybern.network.nftables.service_rules import service_fragment
from kybern.network.nftables.table import Skeleton
from kybern.network.nftables.transport import LibNftables, Nftables, NftProgram
from kybern.network.services import service_ports

pytestmark = [needs_root, pytest.mark.root]

VIP = "10.96.0.50"
PODS = "10.244.0.0/16"


class NodeTable:
    """The table of one of the lab's nodes, fed by hand."""

    def __init__(self, host: Host, subnet: int, transport: type[Nftables]) -> None:
        self.host = host
        self.ruleset = Ruleset(Skeleton(PODS, "10.96.0.0/16", f"10.244.{subnet}.0/24"))
        self.slices: list[dict[str, Any]] = []
        with inside(host.namespace):
            sysctls.apply(sysctls.NODE_SETTINGS, None)
            self.nftables = transport()
        self._run(self.ruleset.render())

    def _run(self, commands: str) -> None:
        with inside(self.host.namespace):
            self.nftables.run(commands)

    def service(self, service: dict[str, Any], *endpoints: tuple[str, str], **slice_fields) -> None:
        """Apply a Service and its endpoints (address, node), and sweep what they replace."""
        slices = [endpoint_slice(*endpoints, **slice_fields)]
        behind = collect(slices, self.host.name)
        view = NodeView(self.host.name)
        ports = [(p, choose(behind.get(p.name, []), view)) for p in service_ports(service)]
        name = service["metadata"]["name"]
        self._run(self.ruleset.change({f"service/{name}": service_fragment(ports, PODS)}))
        self._run(self.ruleset.sweep())

    def remove(self, name: str) -> None:
        self._run(self.ruleset.change({f"service/{name}": EMPTY}))
        self._run(self.ruleset.sweep())

    def host_ports(self, pod: dict[str, Any]) -> None:
        self._run(self.ruleset.change({"pod/p": host_port_fragment(pod)}))

    def node_addresses(self, *addresses: str) -> None:
        nodes = [
            {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
            for address in addresses
        ]
        self._run(self.ruleset.change({"nodes": node_addresses_fragment(nodes)}))


def endpoint_slice(
    *endpoints: tuple[str, str], protocol: str = "TCP", **conditions: bool
) -> dict[str, Any]:
    items = [
        {"addresses": [address], "nodeName": node, "conditions": conditions}
        for address, node in endpoints
    ]
    ports = [{"name": "", "port": 8080, "protocol": protocol}]
    return {"addressType": "IPv4", "endpoints": items, "ports": ports}


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "protocol": spec.pop("protocol", "TCP"), "nodePort": 30080}]
    return {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"clusterIP": VIP, "type": "NodePort", "ports": ports, **spec},
    }


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    yield made
    await made.close()


@pytest.fixture(params=[LibNftables, NftProgram])
def transport(request: pytest.FixtureRequest) -> type[Nftables]:
    return request.param


async def test_a_cluster_ip_leads_to_pods_from_pods_and_from_nodes(
    lab: Lab, transport: type[Nftables]
) -> None:
    here, there, client = lab.pod(lab.one, 5), lab.pod(lab.two, 5), lab.pod(lab.one, 6)
    await here.serve(8080)
    await there.serve(8080)
    table = NodeTable(lab.one, 1, transport)
    NodeTable(lab.two, 2, transport)
    table.service(service(), (here.address, "one"), (there.address, "two"))
    seen = {await client.ask(VIP, 80) for _ in range(30)}
    assert seen == {f"one-5 sees {client.address}", f"two-5 sees {client.address}"}
    assert (await lab.one.ask(VIP, 80)).startswith(("one-5 sees ", "two-5 sees "))


async def test_an_sctp_service_leads_to_its_pods(lab: Lab) -> None:
    sctp = {"protocol": socket.IPPROTO_SCTP}
    pod, client = lab.pod(lab.two, 5), lab.pod(lab.one, 6)
    try:
        await pod.serve_streams(8080, **sctp)
    except OSError as error:
        pytest.skip(f"the kernel has no SCTP: {error}")
    NodeTable(lab.two, 2, LibNftables)
    table = NodeTable(lab.one, 1, LibNftables)
    table.service(service(protocol="SCTP"), (pod.address, "two"), protocol="SCTP")
    assert await client.ask(VIP, 80, **sctp) == f"two-5 sees {client.address}"
    answer = await lab.outside.ask(lab.one.address, 30080, **sctp)
    assert answer == f"two-5 sees {lab.one.address}"


async def test_a_pod_reaches_itself_through_its_own_service(lab: Lab) -> None:
    pod = lab.pod(lab.one, 5)
    await pod.serve(8080)
    NodeTable(lab.one, 1, LibNftables).service(service(), (pod.address, "one"))
    assert await pod.ask(VIP, 80) == "one-5 sees 10.244.1.1"


async def test_a_node_port_answers_outside_node_pod_and_localhost(lab: Lab) -> None:
    pod, client = lab.pod(lab.two, 5), lab.pod(lab.one, 6)
    await pod.serve(8080)
    NodeTable(lab.two, 2, LibNftables)
    NodeTable(lab.one, 1, LibNftables).service(service(), (pod.address, "two"))
    # Policy Cluster hides the client behind the node, because the answer must pass it again.
    assert await lab.outside.ask(lab.one.address, 30080) == f"two-5 sees {lab.one.address}"
    for host in (lab.one, client):
        assert (await host.ask(lab.one.address, 30080)).startswith("two-5 sees ")
    assert (await lab.one.ask("127.0.0.1", 30080)).startswith("two-5 sees ")


async def test_neighbours_do_not_reach_loopback_addresses(lab: Lab) -> None:
    NodeTable(lab.one, 1, LibNftables)
    private = lab.one.socket(socket.SOCK_DGRAM)
    lab.one.servers.append(private)
    private.bind(("127.0.0.1", 7000))
    for command in (
        "rule add pref 10 table 99",
        "rule del pref 0",
        "rule add pref 50 table local",
        f"route add 127.0.0.1 via {lab.one.address} src {lab.outside.address} table 99",
    ):
        run("ip", "-n", lab.outside.namespace, *command.split())
    intruder = lab.outside.socket(socket.SOCK_DGRAM)
    lab.outside.servers.append(intruder)
    intruder.sendto(b"neighbour", ("127.0.0.1", 7000))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SILENCE):
            await asyncio.get_running_loop().sock_recv(private, 100)


async def test_external_and_load_balancer_addresses_lead_to_pods(lab: Lab) -> None:
    pod = lab.pod(lab.one, 5)
    await pod.serve(8080)
    web = service(externalIPs=["203.0.113.7"], loadBalancerSourceRanges=["192.168.77.0/24"])
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}]}}
    table = NodeTable(lab.one, 1, LibNftables)
    table.service(web, (pod.address, "one"))
    for address in ("203.0.113.7", "203.0.113.8"):
        lab._route(lab.outside, address, lab.one.address)
        assert (await lab.outside.ask(address, 80)).startswith("one-5 sees ")
    web["spec"]["loadBalancerSourceRanges"] = ["10.0.0.0/8", "10.1.0.0/16"]
    table.service(web, (pod.address, "one"))
    with pytest.raises(TimeoutError):
        await lab.outside.ask("203.0.113.8", 80, patience=SILENCE)
    assert (await lab.outside.ask("203.0.113.7", 80)).startswith("one-5 sees ")


async def test_external_policy_local_keeps_the_client_and_stays_on_the_node(lab: Lab) -> None:
    here, there, client = lab.pod(lab.one, 5), lab.pod(lab.two, 5), lab.pod(lab.one, 6)
    await here.serve(8080)
    await there.serve(8080)
    NodeTable(lab.two, 2, LibNftables)
    table = NodeTable(lab.one, 1, LibNftables)
    web = service(externalTrafficPolicy="Local")
    table.service(web, (here.address, "one"), (there.address, "two"))
    for _ in range(10):
        seen = await lab.outside.ask(lab.one.address, 30080)
        assert seen == f"one-5 sees {lab.outside.address}"
    assert {(await client.ask(lab.one.address, 30080))[:5] for _ in range(30)} == {"one-5", "two-5"}
    table.service(web, (there.address, "two"))
    with pytest.raises(TimeoutError):
        await lab.outside.ask(lab.one.address, 30080, patience=SILENCE)
    assert (await lab.one.ask(lab.one.address, 30080)).startswith("two-5 sees ")
    assert (await client.ask(lab.one.address, 30080)).startswith("two-5 sees ")


async def test_internal_policy_local_stays_on_the_node(lab: Lab) -> None:
    here, there, client = lab.pod(lab.one, 5), lab.pod(lab.two, 5), lab.pod(lab.one, 6)
    await here.serve(8080)
    await there.serve(8080)
    NodeTable(lab.two, 2, LibNftables)
    table = NodeTable(lab.one, 1, LibNftables)
    web = service(internalTrafficPolicy="Local")
    table.service(web, (here.address, "one"), (there.address, "two"))
    assert {(await client.ask(VIP, 80))[:5] for _ in range(20)} == {"one-5"}
    table.service(web, (there.address, "two"))
    with pytest.raises(TimeoutError):
        await client.ask(VIP, 80, patience=SILENCE)


async def test_services_without_endpoints_are_refused_at_once(lab: Lab) -> None:
    client, pod = lab.pod(lab.one, 6), lab.pod(lab.one, 5)
    await pod.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    table.service(service(), (pod.address, "one"), ready=False)
    for asking, address, port in (
        (client, VIP, 80),
        (lab.one, VIP, 80),
        (lab.outside, lab.one.address, 30080),
    ):
        with pytest.raises(ConnectionRefusedError):
            await asking.ask(address, port)
    table.service(service(protocol="UDP"), (pod.address, "one"), ready=False)
    with pytest.raises(ConnectionRefusedError):
        await UdpClient(client, VIP, 80).ask()


async def test_terminating_endpoints_serve_when_nothing_else_does(lab: Lab) -> None:
    client, pod = lab.pod(lab.one, 6), lab.pod(lab.one, 5)
    await pod.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    going = {"ready": False, "serving": True, "terminating": True}
    table.service(service(), (pod.address, "one"), **going)
    assert (await client.ask(VIP, 80)).startswith("one-5")


async def test_other_ports_of_a_cluster_ip_are_refused(lab: Lab) -> None:
    client, pod = lab.pod(lab.one, 6), lab.pod(lab.one, 5)
    NodeTable(lab.one, 1, LibNftables).service(service(), (pod.address, "one"))
    for asking in (client, lab.one):
        with pytest.raises(ConnectionRefusedError):
            await asking.ask(VIP, 81)


async def test_a_deleted_service_is_not_served(lab: Lab) -> None:
    client, pod = lab.pod(lab.one, 6), lab.pod(lab.one, 5)
    await pod.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    table.service(service(), (pod.address, "one"))
    assert (await client.ask(VIP, 80)).startswith("one-5")
    table.remove("web")
    with pytest.raises((TimeoutError, OSError)):
        await client.ask(VIP, 80, patience=SILENCE)
    with pytest.raises(ConnectionRefusedError):
        await lab.outside.ask(lab.one.address, 30080)


async def test_session_affinity_keeps_a_client_at_one_endpoint(lab: Lab) -> None:
    pods = [lab.pod(lab.one, number) for number in (5, 6, 7)]
    client = lab.pod(lab.one, 9)
    for pod in pods:
        await pod.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    endpoints = [(pod.address, "one") for pod in pods]
    table.service(service(sessionAffinity="ClientIP"), *endpoints)
    seen = {await client.ask(VIP, 80) for _ in range(15)}
    assert len(seen) == 1
    chosen = seen.pop().split()[0]
    left = [(pod.address, "one") for pod in pods if pod.name != chosen]
    table.service(service(sessionAffinity="ClientIP"), *left)
    moved = {await client.ask(VIP, 80) for _ in range(15)}
    assert len(moved) == 1 and not moved.pop().startswith(chosen)
    table.service(service(), *endpoints)
    assert len({await client.ask(VIP, 80) for _ in range(40)}) == 3


async def test_a_udp_client_with_an_old_socket_moves_to_the_endpoint_that_is_left(lab: Lab) -> None:
    old, new, client = lab.pod(lab.one, 5), lab.pod(lab.one, 6), lab.pod(lab.one, 9)
    await old.serve(8080)
    await new.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    table.service(service(protocol="UDP"), (old.address, "one"))
    asking, asking_node = UdpClient(client, VIP, 80), UdpClient(lab.outside, lab.one.address, 30080)
    assert (await asking.ask()).startswith("one-5")
    assert (await asking_node.ask()).startswith("one-5")
    table.service(service(protocol="UDP"), (new.address, "one"))
    assert (await asking.ask()).startswith("one-5"), "the kernel remembers the flow"
    endpoints = {(new.address, 8080)}
    with inside(lab.one.namespace):
        conntrack.clean(conntrack.Wanted({(VIP, 80): endpoints}, {30080: endpoints}))
    assert (await asking.ask()).startswith("one-6")
    assert (await asking_node.ask()).startswith("one-6")


async def test_host_ports_lead_to_their_pod(lab: Lab) -> None:
    pod, client = lab.pod(lab.one, 5), lab.pod(lab.one, 6)
    await pod.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    ports = [
        {"containerPort": 8080, "hostPort": 9000},
        {"containerPort": 8080, "hostPort": 9001, "hostIP": "127.0.0.1"},
        {"containerPort": 8080, "hostPort": 9002, "protocol": "UDP"},
    ]
    status = {"phase": "Running", "podIP": pod.address}
    table.host_ports({"spec": {"containers": [{"ports": ports}]}, "status": status})
    seen = await lab.outside.ask(lab.one.address, 9000)
    assert seen == f"one-5 sees {lab.outside.address}"
    for asking in (client, pod, lab.one):
        assert (await asking.ask(lab.one.address, 9000)).startswith("one-5")
    assert (await lab.one.ask("127.0.0.1", 9001)).startswith("one-5")
    with pytest.raises(ConnectionRefusedError):
        await lab.outside.ask(lab.one.address, 9001)
    assert (await UdpClient(lab.outside, lab.one.address, 9002).ask()).startswith("one-5")
    table.host_ports({"spec": {}, "status": {}})
    with pytest.raises(ConnectionRefusedError):
        await lab.outside.ask(lab.one.address, 9000)


async def test_pods_are_masqueraded_outside_the_cluster_only(lab: Lab) -> None:
    pod, other = lab.pod(lab.one, 5), lab.pod(lab.two, 5)
    for host in (lab.outside, lab.two, other):
        await host.serve(7000)
    table = NodeTable(lab.one, 1, LibNftables)
    NodeTable(lab.two, 2, LibNftables)
    table.node_addresses(lab.one.address, lab.two.address)
    assert await pod.ask(lab.outside.address, 7000) == f"outside sees {lab.one.address}"
    assert await pod.ask(lab.two.address, 7000) == f"two sees {pod.address}"
    assert await pod.ask(other.address, 7000) == f"two-5 sees {pod.address}"


async def test_two_services_that_claim_one_address_do_not_break_the_table(lab: Lab) -> None:
    first, second, client = lab.pod(lab.one, 5), lab.pod(lab.one, 6), lab.pod(lab.one, 7)
    await first.serve(8080)
    await second.serve(8080)
    table = NodeTable(lab.one, 1, LibNftables)
    rival = service(clusterIP="10.96.0.51", externalIPs=["203.0.113.7"])
    rival["metadata"]["name"] = "api"
    table.service(service(externalIPs=["203.0.113.7"]), (first.address, "one"))
    table.service(rival, (second.address, "one"))
    assert (await client.ask("203.0.113.7", 80)).startswith("one-6")
    table.remove("api")
    assert (await client.ask("203.0.113.7", 80)).startswith("one-5")
