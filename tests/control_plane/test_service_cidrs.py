"""Ranges of service addresses come, are used, and go when nothing of them is held."""

import pytest

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import IP_ADDRESSES, SERVICE_CIDRS, SERVICES
from kybern.client import Client
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time

FINALIZER = "networking.k8s.io/service-cidr-finalizer"


def range_of(name: str, cidr: str) -> Obj:
    return {"metadata": {"name": name}, "spec": {"cidrs": [cidr]}}


def service(name: str, address: str) -> Obj:
    return {"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}}


async def ready(client: Client, name: str, status: str) -> bool:
    found = await client.get(SERVICE_CIDRS, name)
    return objects.condition_is(found, "Ready", status)


async def gone(client: Client, name: str) -> bool:
    try:
        await client.get(SERVICE_CIDRS, name)
    except StatusError as error:
        return error.code == 404
    return False


async def test_a_range_is_guarded_used_and_goes_with_its_last_address() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:
        client = cluster.client
        await client.create(SERVICE_CIDRS, range_of("more", "10.200.0.0/24"))

        async def guarded() -> bool:
            found = await client.get(SERVICE_CIDRS, "more")
            return objects.finalizers(found) == [FINALIZER]

        await cluster.wait_until(guarded)
        await cluster.wait_until(lambda: ready(client, "more", "True"))
        await client.create(SERVICES, service("web", "10.200.0.7"), "default")
        assert (await client.get(IP_ADDRESSES, "10.200.0.7"))["spec"]["parentRef"]["name"] == "web"
        await client.delete(SERVICE_CIDRS, "more")
        await cluster.wait_until(lambda: ready(client, "more", "False"))
        condition = objects.condition(await client.get(SERVICE_CIDRS, "more"), "Ready")
        assert condition is not None
        assert condition["reason"] == "Terminating"
        with pytest.raises(StatusError, match="does not match the current range"):
            await client.create(SERVICES, service("late", "10.200.0.8"), "default")
        await client.delete(SERVICES, "web", "default")
        await cluster.wait_until(lambda: gone(client, "more"))


async def test_a_range_inside_another_goes_with_its_addresses_held() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:
        client = cluster.client
        await client.create(SERVICE_CIDRS, range_of("wide", "10.200.0.0/16"))
        await client.create(SERVICE_CIDRS, range_of("narrow", "10.200.1.0/24"))
        await cluster.wait_until(lambda: ready(client, "narrow", "True"))
        await client.create(SERVICES, service("web", "10.200.1.7"), "default")
        await client.delete(SERVICE_CIDRS, "narrow")
        await cluster.wait_until(lambda: gone(client, "narrow"))
        assert (await client.get(SERVICES, "web", "default"))["spec"]["clusterIP"] == "10.200.1.7"


async def test_the_address_of_the_api_service_is_recorded() -> None:
    async with Cluster(nodes=0, scheduler=False, serve=True) as cluster:
        record = await cluster.client.get(IP_ADDRESSES, "10.96.0.1")
        assert record["spec"]["parentRef"] == {
            "resource": "services",
            "namespace": "default",
            "name": "kubernetes",
        }
