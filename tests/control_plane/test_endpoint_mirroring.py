"""Endpoints that people write have slices like all others."""

import pytest

from kybern.api.errors import Obj
from kybern.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


def _endpoints(*addresses: str) -> Obj:
    subset = {"addresses": [{"ip": ip} for ip in addresses], "ports": [{"port": 80}]}
    return {"metadata": {"name": "external"}, "subsets": [subset]}


async def test_slices_follow_endpoints_of_a_service_without_a_selector() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:
        client = cluster.client
        service = {"metadata": {"name": "external"}, "spec": {"ports": [{"port": 80}]}}
        await client.create(SERVICES, service, "default")

        async def shows(*addresses: str) -> bool:
            selector = "kubernetes.io/service-name=external"
            found = await client.list(ENDPOINT_SLICES, "default", label_selector=selector)
            listed = [e["addresses"][0] for s in found["items"] for e in s.get("endpoints") or ()]
            return listed == list(addresses) and len(found["items"]) == bool(addresses)

        created = await client.create(ENDPOINTS, _endpoints("192.0.2.1"), "default")
        await cluster.wait_until(lambda: shows("192.0.2.1"))
        changed = _endpoints("192.0.2.2", "192.0.2.3")["subsets"]
        await client.update(ENDPOINTS, {**created, "subsets": changed})
        await cluster.wait_until(lambda: shows("192.0.2.2", "192.0.2.3"))
        await client.delete(ENDPOINTS, "external", "default")
        await cluster.wait_until(lambda: shows())
