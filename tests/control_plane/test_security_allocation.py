"""Cluster IPs and node ports: each has one owner, under concurrency, failure and restart."""

import asyncio

import pytest
from api_calls import Caller, running

from kybern.api.errors import Obj
from kybern.apiserver.allocation.cluster_ips import ClusterIps
from kybern.apiserver.allocation.node_ports import NodePorts
from kybern.apiserver.allocation.repair import Repair
from kybern.apiserver.allocation.services import ServiceAllocator
from kybern.apiserver.allocation.warnings import Warnings
from kybern.apiserver.config import Config
from kybern.apiserver.loopback import Loopback
from kybern.store.memory import MemoryStore

SERVICES = "/api/v1/namespaces/default/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
PORT = [{"port": 80}]


def service(name: str, **spec: object) -> Obj:
    return {"metadata": {"name": name}, "spec": {"ports": PORT, **spec}}


async def addresses(call: Caller) -> set[str]:
    listed = (await call("GET", ADDRESSES)).body["items"]
    return {found["metadata"]["name"] for found in listed}


async def test_many_services_at_once_get_addresses_and_ports_of_their_own() -> None:
    config = Config(service_cluster_ip_range="10.96.0.0/26", service_node_port_range="30000-30039")
    async with running(config=config) as call:
        made = await asyncio.gather(
            *(call.made(SERVICES, service(f"s{i}", type="NodePort")) for i in range(40))
        )
        assert len({found["spec"]["clusterIP"] for found in made}) == 40
        ports = {found["spec"]["ports"][0]["nodePort"] for found in made}
        assert ports == set(range(30000, 30040))
        full = await call("POST", SERVICES, service("more", type="NodePort"))
        assert full.status == 500
        assert "failed to allocate a nodePort: range is full" in full.body["message"]
        # What the failed one had taken is free again.
        assert len(await addresses(call)) == 40


async def test_an_address_names_its_service() -> None:
    async with running() as call:
        made = await call.made(SERVICES, service("web"))
        spec = made["spec"]
        assert spec["clusterIPs"] == [spec["clusterIP"]]
        assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
        found = (await call("GET", f"{ADDRESSES}/{spec['clusterIP']}")).body
        assert found["spec"]["parentRef"] == {
            "resource": "services",
            "namespace": "default",
            "name": "web",
        }
        assert found["metadata"]["labels"] == {
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }


async def test_both_families() -> None:
    config = Config(service_cluster_ip_range="10.96.0.0/24,fd00::/112")
    async with running(config=config) as call:
        made = await call.made(SERVICES, service("web", ipFamilyPolicy="PreferDualStack"))
        assert made["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
        assert len(made["spec"]["clusterIPs"]) == 2
        single = {**made, "spec": {**made["spec"], "ipFamilyPolicy": "SingleStack"}}
        changed = await call("PUT", f"{SERVICES}/web", single)
        assert changed.body["spec"]["clusterIPs"] == made["spec"]["clusterIPs"][:1]
        assert await addresses(call) == set(made["spec"]["clusterIPs"][:1])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"clusterIP": "10.96.0.5"}, "provided IP is already allocated"),
        ({"clusterIP": "10.0.0.1"}, "does not match the current range"),
        ({"clusterIP": "10.96.0.0"}, "is not in the valid range"),
        ({"ipFamilyPolicy": "RequireDualStack"}, "not configured for dual-stack services"),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30005}]},
            "provided port is already allocated",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
            "The range of valid ports is 30000-32767",
        ),
    ],
)
async def test_what_cannot_be_had(spec: Obj, message: str) -> None:
    async with running() as call:
        taken = service("taken", clusterIP="10.96.0.5", type="NodePort")
        taken["spec"]["ports"] = [{"port": 80, "nodePort": 30005}]
        await call.made(SERVICES, taken)
        before = await addresses(call)
        answer = await call("POST", SERVICES, service("x", **spec))
        assert answer.status == 422
        assert message in answer.body["message"]
        assert await addresses(call) == before


async def test_a_dry_run_takes_nothing() -> None:
    async with running() as call:
        before = await addresses(call)
        answer = await call("POST", SERVICES, service("x", type="NodePort"), query="dryRun=All")
        assert answer.status == 201
        assert answer.body["spec"]["clusterIP"]
        assert await addresses(call) == before
        asked = service("y", type="NodePort", ports=[{"port": 80, "nodePort": 30001}])
        assert (await call("POST", SERVICES, asked, query="dryRun=All")).status == 201
        assert (await call("POST", SERVICES, asked)).status == 201


async def test_changes_and_deletion_give_back() -> None:
    async with running() as call:
        wanted = service("a", clusterIP="10.96.0.9", type="NodePort")
        wanted["spec"]["ports"] = [{"port": 80, "nodePort": 30009}]
        made = await call.made(SERVICES, wanted)
        plain = {**made, "spec": {**made["spec"], "type": "ClusterIP"}}
        assert (await call("PUT", f"{SERVICES}/a", plain)).status == 200
        again = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
        await call.made(SERVICES, again)
        assert (await call("DELETE", f"{SERVICES}/a")).status == 200
        assert "10.96.0.9" not in await addresses(call)
        await call.made(SERVICES, service("c", clusterIP="10.96.0.9"))


async def test_headless_and_external_services_take_nothing() -> None:
    async with running() as call:
        before = await addresses(call)
        headless = await call.made(SERVICES, service("h", clusterIP="None", selector={"a": "b"}))
        assert headless["spec"]["clusterIPs"] == ["None"]
        external = service("e", type="ExternalName", externalName="example.com")
        assert "clusterIP" not in (await call.made(SERVICES, external))["spec"]
        assert await addresses(call) == before


async def test_ownership_survives_a_restart() -> None:
    store = MemoryStore()
    async with running(store) as call:
        wanted = service("a", clusterIP="10.96.0.9", type="NodePort")
        wanted["spec"]["ports"] = [{"port": 80, "nodePort": 30009}]
        await call.made(SERVICES, wanted)
    async with running(store) as call:
        same_ip = await call("POST", SERVICES, service("b", clusterIP="10.96.0.9"))
        same_port = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
        assert same_ip.status == 422
        assert (await call("POST", SERVICES, same_port)).status == 422
    await store.close()


async def test_repair_frees_what_a_killed_server_left_behind() -> None:
    async with running() as call:
        server = call.server
        lookup = server.access.lookup
        loopback = Loopback(server.handler)
        ips = ClusterIps(server.config, lookup, loopback, server.clock)
        ports = NodePorts(server.config.node_ports, server.store, server.clock)
        # As if the server had died between the allocation and the write of the Service.
        orphan: Obj = service("gone", type="NodePort", clusterIP="10.96.0.9")
        orphan["metadata"]["namespace"] = "default"
        orphan["spec"]["ports"] = [{"port": 80, "protocol": "TCP", "nodePort": 30009}]
        await ServiceAllocator(ips, ports).create(orphan, False)
        kept = await call.made(SERVICES, service("kept", type="NodePort"))
        repair = Repair(lookup, ips, ports, Warnings(loopback, server.clock))
        await repair.once()
        assert "10.96.0.9" in await addresses(call)
        await repair.once()
        assert await addresses(call) == {kept["spec"]["clusterIP"]}
        taken = await ports.taken()
        assert taken == {kept["spec"]["ports"][0]["nodePort"]}
        events = (await call("GET", "/apis/events.k8s.io/v1/events")).body["items"]
        assert [(event["reason"], event["regarding"]["name"]) for event in events] == [
            ("IPAddressNotAllocated", "10.96.0.9")
        ]


async def test_repair_records_what_services_hold_and_tells_of_it_once() -> None:
    async with running() as call:
        server = call.server
        loopback = Loopback(server.handler)
        ips = ClusterIps(server.config, server.access.lookup, loopback, server.clock)
        ports = NodePorts(server.config.node_ports, server.store, server.clock)
        made = await call.made(SERVICES, service("web", type="NodePort"))
        address = made["spec"]["clusterIP"]
        port = made["spec"]["ports"][0]["nodePort"]
        await call("DELETE", f"{ADDRESSES}/{address}")
        await ports.release([port])
        warnings = Warnings(loopback, server.clock)
        repair = Repair(server.access.lookup, ips, ports, warnings)
        for _ in range(2):
            await repair.once()
        assert await addresses(call) == {address}
        assert await ports.taken() == {port}
        # A record that names another Service is written anew.
        await ips.release(address)
        await ips.record({"metadata": {"name": "other", "namespace": "default"}}, address)
        await repair.once()
        record = (await call("GET", f"{ADDRESSES}/{address}")).body
        assert record["spec"]["parentRef"]["name"] == "web"
        events = (await call("GET", "/apis/events.k8s.io/v1/events")).body["items"]
        assert sorted(event["note"] for event in events) == [
            f"Cluster IP [IPv4]: {address} is not allocated; repairing",
            f"Port {port} is not allocated; repairing",
            f"the ClusterIP [IPv4]: {address} for Service default/web has a wrong reference; "
            "repairing",
        ]
