"""Volumes against the API server: claims are promised first, and the pod is bound when they are."""

from typing import Any

import pytest
from manifests import pod

from kybern.api import objects
from kybern.api.resources import (
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    PRIORITY_CLASSES,
    STORAGE_CLASSES,
)
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=3)]

Obj = dict[str, Any]

STORAGE_CLASS = {
    "metadata": {"name": "local"},
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "storageClassName": "local",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}


def local_volume(name: str, node: str) -> Obj:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    terms = [{"matchExpressions": [expression]}]
    return {
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "local",
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    }


def with_claim(name: str) -> Obj:
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    return pod(name, volumes=[source])


def is_held(obj: Obj) -> bool:
    return objects.condition_is(obj, "PodScheduled", "False")


async def test_a_pod_is_held_until_its_claim_is_there_and_its_volume_is_bound(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await client.create(PODS, with_claim("web"))
    held = await kybern_cluster.wait_for(PODS, "web", is_held)
    condition = objects.condition(held, "PodScheduled")
    assert condition is not None
    assert condition["message"].startswith(
        '0/3 nodes are available: persistentvolumeclaim "data" not found.'
    )
    await client.create(STORAGE_CLASSES, STORAGE_CLASS)
    await client.create(PERSISTENT_VOLUMES, local_volume("there", "simulated-1"))
    made = await client.create(PERSISTENT_VOLUME_CLAIMS, CLAIM, "default")

    def is_promised(volume: Obj) -> bool:
        return (volume["spec"].get("claimRef") or {}).get("uid") == made["metadata"]["uid"]

    volume = await kybern_cluster.wait_for(PERSISTENT_VOLUMES, "there", is_promised)
    annotations = volume["metadata"]["annotations"]
    assert annotations["pv.kubernetes.io/bound-by-controller"] == "yes"
    running = await kybern_cluster.wait_for(
        PODS, "web", lambda obj: bool(obj["spec"].get("nodeName"))
    )
    assert running["spec"]["nodeName"] == "simulated-1"
    bound = await client.get(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    assert bound["spec"]["volumeName"] == "there", "not before the claim is bound"


async def test_an_unbound_claim_of_an_immediate_class_holds_the_pod(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    immediate = {**STORAGE_CLASS, "volumeBindingMode": "Immediate"}
    await client.create(STORAGE_CLASSES, immediate)
    await client.create(PERSISTENT_VOLUME_CLAIMS, CLAIM, "default")
    await client.create(PODS, with_claim("web"))
    held = await kybern_cluster.wait_for(PODS, "web", is_held)
    condition = objects.condition(held, "PodScheduled")
    assert condition is not None
    assert condition["message"] == (
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
    )
    assert len((await client.list(NODES))["items"]) == 3


async def test_a_pod_that_waits_for_its_volume_says_where_it_goes(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(STORAGE_CLASSES, {**STORAGE_CLASS, "provisioner": "example.com/disk"})
    claim = await client.create(PERSISTENT_VOLUME_CLAIMS, CLAIM, "default")
    await client.create(PODS, with_claim("web"))
    waiting = await kybern_cluster.wait_for(
        PODS, "web", lambda obj: bool(obj["status"].get("nominatedNodeName"))
    )
    assert not waiting["spec"].get("nodeName")
    node = waiting["status"]["nominatedNodeName"]
    made = local_volume("made", node)
    uid = claim["metadata"]["uid"]
    made["spec"]["claimRef"] = {"namespace": "default", "name": "data", "uid": uid}
    await client.create(PERSISTENT_VOLUMES, made)
    bound = await kybern_cluster.wait_for(
        PODS, "web", lambda obj: bool(obj["spec"].get("nodeName"))
    )
    assert bound["spec"]["nodeName"] == node
    assert "nominatedNodeName" not in bound["status"]


async def test_a_pod_that_is_not_bound_yet_is_taken_back_and_not_evicted(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await client.create(STORAGE_CLASSES, {**STORAGE_CLASS, "provisioner": "example.com/disk"})
    await client.create(PERSISTENT_VOLUME_CLAIMS, CLAIM, "default")
    at = {"kubernetes.io/hostname": "simulated-1"}
    node = await client.get(NODES, "simulated-1")
    whole = {"requests": {"cpu": node["status"]["allocatable"]["cpu"]}}
    containers = [{"name": "main", "image": "app:1", "resources": whole}]
    waiting = with_claim("waiting")
    waiting["spec"] |= {"containers": containers, "nodeSelector": at}
    await client.create(PODS, waiting)
    await kybern_cluster.wait_for(
        PODS, "waiting", lambda obj: bool(obj["status"].get("nominatedNodeName"))
    )
    await client.create(PRIORITY_CLASSES, {"metadata": {"name": "vital"}, "value": 1000})
    vital = pod("vital", containers=containers, nodeSelector=at, priorityClassName="vital")
    await client.create(PODS, vital)
    await kybern_cluster.wait_for(PODS, "vital", lambda obj: bool(obj["spec"].get("nodeName")))
    back = await kybern_cluster.wait_for(PODS, "waiting", is_held)
    assert not objects.is_deleting(back) and not back["spec"].get("nodeName")
    events = (await client.list(EVENTS, "default"))["items"]
    preempted = [each["message"] for each in events if each["reason"] == "Preempted"]
    assert len(preempted) == 1
    assert preempted[0].endswith(" on node simulated-1 (in kube-scheduler memory).")
