"""Services find their pods: EndpointSlices and Endpoints follow what pods say."""

import asyncio

import pytest
from manifests import pod, service, workload

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
)
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


async def slices(cluster: Cluster, name: str = "web") -> list[Obj]:
    selector = f"kubernetes.io/service-name={name}"
    found, _ = await cluster.client.list_all(ENDPOINT_SLICES, "default", label_selector=selector)
    return found


async def ready_addresses(cluster: Cluster) -> list[str]:
    return sorted(
        endpoint["addresses"][0]
        for one in await slices(cluster)
        for endpoint in one.get("endpoints") or ()
        if endpoint["conditions"]["ready"]
    )


async def pod_addresses(cluster: Cluster) -> list[str]:
    pods, _ = await cluster.client.list_all(PODS, "default", label_selector="app=web")
    alive = [p for p in pods if objects.is_pod_ready(p) and not objects.is_deleting(p)]
    return sorted(objects.status(p)["podIP"] for p in alive)


async def test_slices_and_endpoints_hold_the_ready_pods(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(SERVICES, service("web"))
    await client.create(DEPLOYMENTS, workload("web", 3))

    async def same() -> bool:
        addresses = await ready_addresses(kybern_cluster)
        return len(addresses) == 3 and addresses == await pod_addresses(kybern_cluster)

    await kybern_cluster.wait_until(same)
    one = (await slices(kybern_cluster))[0]
    assert one["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert one["endpoints"][0]["targetRef"]["kind"] == "Pod"

    def listed(endpoints: Obj) -> bool:
        return [len(s.get("addresses") or ()) for s in endpoints.get("subsets") or ()] == [3]

    await kybern_cluster.wait_for(ENDPOINTS, "web", listed)
    await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, "default")

    async def shrunk() -> bool:
        return len(await ready_addresses(kybern_cluster)) == 1

    await kybern_cluster.wait_until(shrunk)


@pytest.mark.kybern(nodes=2)
async def test_more_than_a_hundred_endpoints_take_several_slices(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(SERVICES, service("web"))
    await client.create(DEPLOYMENTS, workload("web", 101))

    async def complete() -> bool:
        return len(await ready_addresses(kybern_cluster)) == 101

    await kybern_cluster.wait_until(complete)
    found = await slices(kybern_cluster)
    assert len(found) > 1 and all(len(one["endpoints"]) <= 100 for one in found)
    addresses = [e["addresses"][0] for one in found for e in one["endpoints"]]
    assert len(addresses) == len(set(addresses))


async def test_named_ports_resolve_per_pod(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    named = service("web", ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    await client.create(SERVICES, named)
    for name, number in (("old", 8080), ("current", 9090)):
        one = pod(name, labels={"app": "web"})
        one["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": number}]
        await client.create(PODS, one)

    async def both() -> bool:
        ports = [one["ports"][0]["port"] for one in await slices(kybern_cluster) if one["ports"]]
        return sorted(ports) == [8080, 9090]

    await kybern_cluster.wait_until(both)


async def test_a_service_without_pods_keeps_one_empty_slice(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(SERVICES, service("web"))

    async def empty() -> bool:
        return [one.get("endpoints") or [] for one in await slices(kybern_cluster)] == [[]]

    await kybern_cluster.wait_until(empty)
    await kybern_cluster.client.delete(SERVICES, "web", "default")

    async def none() -> bool:
        return not await slices(kybern_cluster)

    await kybern_cluster.wait_until(none)


async def test_nothing_is_retried_in_a_namespace_that_is_going(
    kybern_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    client = kybern_cluster.client
    await client.create(NAMESPACES, {"metadata": {"name": "going"}})
    kept = service("web") | {"metadata": {"name": "web", "finalizers": ["example.com/stay"]}}
    await client.create(SERVICES, kept, "going")

    async def count(resource: Resource) -> int:
        found, _ = await client.list_all(resource, "going")
        return len(found)

    async def has_slice() -> bool:
        return await count(ENDPOINT_SLICES) == 1

    async def has_none() -> bool:
        return await count(ENDPOINT_SLICES) == 0

    await kybern_cluster.wait_until(has_slice)
    await client.delete(NAMESPACES, "going")
    await kybern_cluster.wait_until(has_none)
    await asyncio.sleep(60)
    assert await count(SERVICES) == 1
    assert not [text for text in caplog.messages if "going/web" in text]
