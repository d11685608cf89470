"""Claims, volumes and classes that are deleted wait for their last user."""

import pytest

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    VOLUME_ATTRIBUTES_CLASSES,
    Resource,
)
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


def _claim(name: str, **spec: object) -> Obj:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources, **spec}
    return {"metadata": {"name": name}, "spec": spec}


def _pod(claim: str) -> Obj:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [volume], "nodeName": "n"}
    return {"metadata": {"name": "user"}, "spec": spec}


async def _gone(cluster: Cluster, resource: Resource, name: str, namespace: str | None) -> bool:
    try:
        await cluster.client.get(resource, name, namespace)
    except StatusError as error:
        return error.reason == "NotFound"
    return False


async def test_a_claim_stays_while_a_pod_mounts_it() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:
        client = cluster.client
        for name in ("used", "free"):
            await client.create(PERSISTENT_VOLUME_CLAIMS, _claim(name), "default")
        await cluster.wait_until(lambda: _has_account(cluster))
        await client.create(PODS, _pod("used"), "default")
        for name in ("used", "free"):
            await client.delete(PERSISTENT_VOLUME_CLAIMS, name, "default")
        await cluster.wait_until(
            lambda: _gone(cluster, PERSISTENT_VOLUME_CLAIMS, "free", "default")
        )
        assert not await _gone(cluster, PERSISTENT_VOLUME_CLAIMS, "used", "default")
        await client.delete(PODS, "user", "default", grace_period_seconds=0)
        await cluster.wait_until(
            lambda: _gone(cluster, PERSISTENT_VOLUME_CLAIMS, "used", "default")
        )


async def test_a_class_stays_while_a_claim_names_it() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:
        client = cluster.client
        made = {"metadata": {"name": "fast"}, "driverName": "d", "parameters": {"iops": "1"}}
        await client.create(VOLUME_ATTRIBUTES_CLASSES, made)
        claim = _claim("user", volumeAttributesClassName="fast")
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim, "default")
        await client.delete(VOLUME_ATTRIBUTES_CLASSES, "fast")
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "user", "default")
        await cluster.wait_until(lambda: _gone(cluster, VOLUME_ATTRIBUTES_CLASSES, "fast", None))


async def _has_account(cluster: Cluster) -> bool:
    accounts = Resource("", "v1", "serviceaccounts", "ServiceAccount")
    return not await _gone(cluster, accounts, "default", "default")
