"""Claims get volumes, volumes get phases, and both learn when the other one is gone."""

import pytest
from manifests import pod
from storage_objects import claim, phase, storage_class, volume

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    Resource,
)
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=0)]


async def make(cluster: Cluster, resource: Resource, *found: Obj) -> None:
    for obj in found:
        await cluster.client.create(resource, obj, "default" if resource.namespaced else None)


async def bound_to(cluster: Cluster, name: str) -> str:
    """The volume that a claim is bound to."""
    found = await cluster.wait_for(PERSISTENT_VOLUME_CLAIMS, name, phase("Bound"))
    return str(found["spec"]["volumeName"])


async def told(cluster: Cluster, name: str, reason: str) -> str:
    """The message of the event about an object with this reason, once there is one."""
    found: list[Obj] = []

    async def there() -> bool:
        selector = f"involvedObject.name={name}"
        events, _ = await cluster.client.list_all(EVENTS, field_selector=selector)
        found[:] = [event for event in events if event["reason"] == reason]
        return bool(found)

    await cluster.wait_until(there)
    return str(found[0]["message"])


async def test_a_claim_and_the_smallest_fitting_volume_become_each_others(
    kybern_cluster: Cluster,
) -> None:
    sizes = {"big": "5Gi", "small": "500Mi", "fitting": "2Gi"}
    await make(
        kybern_cluster,
        PERSISTENT_VOLUMES,
        *(volume(name, size) for name, size in sizes.items()),
        volume("many", "1Gi", accessModes=["ReadWriteOnce", "ReadWriteMany"]),
        volume("block", "1Gi", volumeMode="Block"),
        volume("classy", "1Gi", storageClassName="fast"),
    )
    for name in (*sizes, "many", "block", "classy"):
        await kybern_cluster.wait_for(PERSISTENT_VOLUMES, name, phase("Available"))
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName=""))
    assert await bound_to(kybern_cluster, "data") == "fitting"
    made = await kybern_cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    assert made["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    assert made["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "2Gi"},
    }
    taken = await kybern_cluster.client.get(PERSISTENT_VOLUMES, "fitting")
    assert taken["status"]["phase"] == "Bound"
    assert taken["spec"]["claimRef"]["uid"] == objects.uid(made)
    assert taken["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}


async def test_two_claims_never_get_one_volume(kybern_cluster: Cluster) -> None:
    claims = [claim(f"data-{i}", storageClassName="") for i in range(10)]
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, *claims)
    await make(kybern_cluster, PERSISTENT_VOLUMES, *(volume(f"disk-{i}") for i in range(10)))
    got = {await bound_to(kybern_cluster, objects.name(one)) for one in claims}
    assert len(got) == 10


async def test_labels_choose_among_volumes(kybern_cluster: Cluster) -> None:
    marked = volume("marked", "9Gi", metadata={"labels": {"tier": "gold"}})
    await make(kybern_cluster, PERSISTENT_VOLUMES, volume("plain"), marked)
    asking = claim("data", storageClassName="", selector={"matchLabels": {"tier": "gold"}})
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, asking)
    assert await bound_to(kybern_cluster, "data") == "marked"


async def test_a_reserved_volume_waits_for_its_claim(kybern_cluster: Cluster) -> None:
    reference = {"namespace": "default", "name": "mine"}
    reserved = volume("reserved", "5Gi", claimRef=reference)
    await make(kybern_cluster, PERSISTENT_VOLUMES, reserved)
    await kybern_cluster.wait_for(PERSISTENT_VOLUMES, "reserved", phase("Available"))
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("other", storageClassName=""))
    text = await told(kybern_cluster, "other", "FailedBinding")
    assert text == "no persistent volumes available for this claim and no storage class is set"
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("mine", storageClassName=""))
    assert await bound_to(kybern_cluster, "mine") == "reserved"


async def test_a_claim_that_names_its_volume_gets_that_or_none(kybern_cluster: Cluster) -> None:
    await make(kybern_cluster, PERSISTENT_VOLUMES, volume("tiny", "1Mi"), volume("wanted", "9Gi"))
    asking = {"storageClassName": "", "volumeName": "tiny"}
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("data", **asking))
    text = await told(kybern_cluster, "data", "VolumeMismatch")
    assert text == 'Cannot bind to requested volume "tiny": requested PV is too small'
    asking["volumeName"] = "wanted"
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("first", **asking))
    assert await bound_to(kybern_cluster, "first") == "wanted"
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("second", **asking))
    text = await told(kybern_cluster, "second", "FailedBinding")
    assert text == 'volume "wanted" already bound to a different claim.'


async def test_a_provisioner_is_named_in_the_claim_and_its_volume_is_taken(
    kybern_cluster: Cluster,
) -> None:
    await make(kybern_cluster, STORAGE_CLASSES, storage_class("disks"))
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName="disks"))
    asked = await kybern_cluster.wait_for(
        PERSISTENT_VOLUME_CLAIMS,
        "data",
        lambda obj: "volume.kubernetes.io/storage-provisioner" in objects.annotations(obj),
    )
    message = await told(kybern_cluster, "data", "ExternalProvisioning")
    assert message.startswith("Waiting for a volume to be created either by the external provis")
    reference = {"namespace": "default", "name": "data", "uid": objects.uid(asked)}
    marks = {"annotations": {"pv.kubernetes.io/provisioned-by": "example.com/disks"}}
    provisioned = volume(
        "pvc-1",
        metadata=marks,
        storageClassName="disks",
        claimRef=reference,
        persistentVolumeReclaimPolicy="Delete",
    )
    await make(kybern_cluster, PERSISTENT_VOLUMES, provisioned)
    assert await bound_to(kybern_cluster, "data") == "pvc-1"
    await kybern_cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    released = await kybern_cluster.wait_for(PERSISTENT_VOLUMES, "pvc-1", phase("Released"))
    assert released["spec"]["claimRef"]["uid"] == objects.uid(asked)


async def test_a_claim_without_a_class_gets_the_default_that_comes_later(
    kybern_cluster: Cluster,
) -> None:
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("early"))
    await kybern_cluster.wait_for(PERSISTENT_VOLUME_CLAIMS, "early", phase("Pending"))
    marks = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    await make(kybern_cluster, STORAGE_CLASSES, storage_class("usual", metadata=marks))
    await kybern_cluster.wait_for(
        PERSISTENT_VOLUME_CLAIMS, "early", lambda obj: obj["spec"].get("storageClassName")
    )


async def test_a_claim_waits_for_its_first_consumer(kybern_cluster: Cluster) -> None:
    await make(kybern_cluster, STORAGE_CLASSES, storage_class("slow", delayed=True))
    await make(kybern_cluster, PERSISTENT_VOLUMES, volume("free", storageClassName="slow"))
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName="slow"))
    text = await told(kybern_cluster, "data", "WaitForFirstConsumer")
    assert text == "waiting for first consumer to be created before binding"
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    await make(kybern_cluster, PODS, pod("web", volumes=[source]))
    text = await told(kybern_cluster, "data", "WaitForPodScheduled")
    assert text == "waiting for pod web to be scheduled"


@pytest.mark.kybern(nodes=2)
async def test_the_scheduler_binds_a_delayed_claim_where_its_volume_is(
    kybern_cluster: Cluster,
) -> None:
    await make(
        kybern_cluster,
        STORAGE_CLASSES,
        storage_class("local", "kubernetes.io/no-provisioner", delayed=True),
    )
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["simulated-1"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    disk = volume("there", storageClassName="local", nodeAffinity=affinity)
    await make(kybern_cluster, PERSISTENT_VOLUMES, disk)
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName="local"))
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    await make(kybern_cluster, PODS, pod("web", volumes=[source]))
    running = await kybern_cluster.wait_for(PODS, "web", phase("Running"))
    assert running["spec"]["nodeName"] == "simulated-1"
    assert await bound_to(kybern_cluster, "data") == "there"


async def test_a_retained_volume_stays_released_and_one_without_a_deleter_fails(
    kybern_cluster: Cluster,
) -> None:
    await make(
        kybern_cluster,
        PERSISTENT_VOLUMES,
        volume("kept"),
        volume("orphan", persistentVolumeReclaimPolicy="Delete"),
    )
    for name in ("kept", "orphan"):
        asking = claim(f"of-{name}", storageClassName="", volumeName=name)
        await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, asking)
        await bound_to(kybern_cluster, f"of-{name}")
        await kybern_cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, f"of-{name}", "default")
    await kybern_cluster.wait_for(PERSISTENT_VOLUMES, "kept", phase("Released"))
    failed = await kybern_cluster.wait_for(PERSISTENT_VOLUMES, "orphan", phase("Failed"))
    text = 'error getting deleter volume plugin for volume "orphan": no deletable volume plugin'
    assert failed["status"]["message"] == f"{text} matched"
    assert await told(kybern_cluster, "orphan", "VolumeFailedDelete") == f"{text} matched"


async def test_a_claim_whose_volume_is_gone_is_lost(kybern_cluster: Cluster) -> None:
    await make(kybern_cluster, PERSISTENT_VOLUMES, volume("fragile"))
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName=""))
    await bound_to(kybern_cluster, "data")
    client = kybern_cluster.client
    await client.delete(PERSISTENT_VOLUMES, "fragile")
    await client.patch(PERSISTENT_VOLUMES, "fragile", {"metadata": {"finalizers": None}})
    lost = await kybern_cluster.wait_for(PERSISTENT_VOLUME_CLAIMS, "data", phase("Lost"))
    assert "capacity" not in lost["status"]
    text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    assert await told(kybern_cluster, "data", "ClaimLost") == text


async def test_a_pods_ephemeral_volume_gets_a_claim_that_goes_with_it(
    kybern_cluster: Cluster,
) -> None:
    template = {"metadata": {"labels": {"kind": "scratch"}}, "spec": claim("x")["spec"]}
    source = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("stranger-scratch"))
    await make(
        kybern_cluster, PODS, pod("web", volumes=[source]), pod("stranger", volumes=[source])
    )
    made = await kybern_cluster.wait_for(PERSISTENT_VOLUME_CLAIMS, "web-scratch")
    assert made["metadata"]["labels"] == {"kind": "scratch"}
    assert made["metadata"]["ownerReferences"][0]["name"] == "web"
    text = await told(kybern_cluster, "stranger", "FailedBinding")
    assert text == (
        "ephemeral volume scratch: PVC default/stranger-scratch was not created for pod "
        "default/stranger (pod is not owner)"
    )
    await kybern_cluster.client.delete(PODS, "web", "default", grace_period_seconds=0)
    await kybern_cluster.wait_gone(PERSISTENT_VOLUME_CLAIMS, "web-scratch")


async def test_those_who_can_grow_volumes_are_told_of_a_claim_that_wants_more(
    kybern_cluster: Cluster,
) -> None:
    growing = storage_class("growing", allowVolumeExpansion=True)
    await make(kybern_cluster, STORAGE_CLASSES, growing)
    await make(kybern_cluster, PERSISTENT_VOLUMES, volume("disk", storageClassName="growing"))
    await make(kybern_cluster, PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName="growing"))
    await bound_to(kybern_cluster, "data")
    more = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    await kybern_cluster.client.patch(PERSISTENT_VOLUME_CLAIMS, "data", more, "default")
    text = await told(kybern_cluster, "data", "ExternalExpanding")
    assert text == "waiting for an external controller to expand this PVC"
