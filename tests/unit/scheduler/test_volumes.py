"""Volumes and claims: what holds a pod, where it may go, and what is promised with a node."""

from typing import Any

from test_decision import Core, node, pod

from kybern.scheduler.decision import PROBES
from kybern.scheduler.events import Action, ClusterEvent, EventResource, Hint
from kybern.scheduler.plugins.volume_binding import VolumeBinding
from kybern.scheduler.plugins.volume_filter import VolumePlan

Obj = dict[str, Any]

LOCAL = {
    "metadata": {"name": "local", "uid": "local"},
    "provisioner": "kubernetes.io/no-provisioner",
}
DELAYED = "WaitForFirstConsumer"


def zoned(name: str, zone: str) -> Obj:
    made = node(name)
    made["metadata"]["labels"]["topology.kubernetes.io/zone"] = zone
    return made


def using(name: str, *claims: str, **spec: Any) -> Obj:
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    return pod(name, volumes=volumes, **spec)


def claim(name: str, size: str = "1Gi", volume: str = "", cls: str = "local", **spec: Any) -> Obj:
    meta: Obj = {"name": name, "namespace": "default", "uid": f"claim-{name}"}
    if volume:
        spec["volumeName"] = volume
        meta["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    resources = {"requests": {"storage": size}}
    spec = {"resources": resources, "storageClassName": cls, "accessModes": ["RWO"]} | spec
    return {"metadata": meta, "spec": spec}


def volume(name: str, size: str = "1Gi", at: str = "", **spec: Any) -> Obj:
    if at:
        expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [at]}
        terms = [{"matchExpressions": [expression]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    spec = {"capacity": {"storage": size}, "storageClassName": "local"} | spec
    return {
        "metadata": {"name": name, "uid": f"volume-{name}"},
        "spec": {"accessModes": ["RWO"], **spec},
        "status": {"phase": "Available"},
    }


class StorageCore(Core):
    """Three nodes and a class of local volumes."""

    def __init__(self, *nodes: Obj) -> None:
        super().__init__(*(nodes or (node("a"), node("b"), node("c"))))
        self.storage = self.cluster.storage
        self.storage.class_changed(None, {**LOCAL, "volumeBindingMode": DELAYED})

    def have(self, *objects: Obj) -> None:
        for one in objects:
            is_claim = "namespace" in one["metadata"]
            note = self.storage.claim_changed if is_claim else self.storage.volume_changed
            note(None, one)

    def plan(self, one: Obj, name: str) -> VolumePlan:
        plugin = self.profile.by_name["VolumeBinding"]
        assert isinstance(plugin, VolumeBinding)
        return plugin.plan(one, self.cluster.nodes.rows[name])


def held(text: str) -> str:
    return f"0/3 nodes are available: {text}."


def test_a_pod_waits_for_its_claims() -> None:
    core = StorageCore()
    one = using("p", "data")
    assert core.decide(one) == held('persistentvolumeclaim "data" not found')
    core.have(claim("data", cls="fast"))
    assert core.decide(one) == held("pod has unbound immediate PersistentVolumeClaims")
    lost = claim("lost", volume="gone")
    core.have({**lost, "status": {"phase": "Lost"}})
    text = 'persistentvolumeclaim "lost" bound to non-existent persistentvolume "gone"'
    assert core.decide(using("q", "lost")) == held(text)
    scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}
    waits = "waiting for ephemeral volume controller to create the persistentvolumeclaim"
    assert core.decide(pod("e", volumes=[scratch])) == held(f'{waits} "e-scratch"')


def test_a_pod_goes_where_its_bound_volume_is() -> None:
    core = StorageCore()
    core.have(volume("v", at="b"), claim("data", volume="v"))
    assert core.decide(using("p", "data")) == "b"
    core.cluster.place(pod("full", cpu="4"), "b")
    assert core.decide(using("q", "data")) == held(
        "1 Insufficient cpu, 2 node(s) didn't match PersistentVolume's node affinity"
    )


def test_a_waiting_claim_gets_the_smallest_volume_that_fits_on_the_node() -> None:
    core = StorageCore()
    core.have(
        claim("data", size="2Gi"),
        volume("small", size="1Gi", at="a"),
        volume("large", size="8Gi", at="b"),
        volume("middle", size="4Gi", at="b"),
        volume("taken", size="2Gi", at="c", claimRef={"name": "x", "namespace": "default"}),
    )
    one = using("p", "data")
    assert core.decide(one) == "b"
    ((bound, chosen),) = core.plan(one, "b").bindings
    assert (bound["metadata"]["name"], chosen["metadata"]["name"]) == ("data", "middle")


def test_two_claims_of_a_pod_never_get_the_same_volume() -> None:
    core = StorageCore()
    core.have(claim("one"), claim("two"), volume("v", at="a"))
    reason = "3 node(s) didn't find available persistent volumes to bind"
    assert core.decide(using("p", "one", "two")) == held(reason)
    core.have(volume("w", size="2Gi", at="a"))
    assert core.decide(using("p", "one", "two")) == "a"
    chosen = [v["metadata"]["name"] for _, v in core.plan(using("p", "one", "two"), "a").bindings]
    assert sorted(chosen) == ["v", "w"]


def test_a_volume_that_is_promised_is_seen_as_taken_until_the_promise_is_undone() -> None:
    core = StorageCore()
    core.have(claim("one"), claim("two"), volume("v", at="a"))
    assert core.decide(using("p", "one")) == "a"
    taken = volume("v", at="a", claimRef={"name": "one", "namespace": "default"})
    core.storage.assume(taken)
    assert core.decide(using("q", "two")).startswith("0/3")
    core.storage.volume_changed(volume("v", at="a"), volume("v", size="3Gi", at="a"))
    assert core.decide(using("q", "two")).startswith("0/3"), "an old event changes nothing"
    core.storage.forget(taken)
    assert core.decide(using("q", "two")) == "a"


def test_provisioning_keeps_to_allowed_topologies_and_to_the_selected_node() -> None:
    core = StorageCore(zoned("a", "east"), zoned("b", "west"), zoned("c", "west"))
    expression = {"key": "topology.kubernetes.io/zone", "values": ["west"]}
    core.storage.class_changed(
        None,
        {
            "metadata": {"name": "cloud", "uid": "cloud"},
            "provisioner": "example.com/disk",
            "volumeBindingMode": DELAYED,
            "allowedTopologies": [{"matchLabelExpressions": [expression]}],
        },
    )
    core.have(claim("data", cls="cloud"))
    one = using("p", "data")
    assert core.decide(one) in ("b", "c")
    assert [c["metadata"]["name"] for c in core.plan(one, "b").provisions] == ["data"]
    selected = claim("data", cls="cloud")
    selected["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "c"}
    core.have(selected)
    assert [core.decide(using(f"p{n}", "data")) for n in range(5)] == ["c"] * 5


def test_zone_labels_of_a_volume_confine_the_pod() -> None:
    core = StorageCore(zoned("a", "east"), zoned("b", "west"), zoned("c", "north"))
    labelled = volume("v")
    labelled["metadata"]["labels"] = {"topology.kubernetes.io/zone": "west__north"}
    core.have(labelled, claim("data", volume="v"))
    assert core.decide(using("p", "data")) in ("b", "c")
    assert core.decide(using("q", "data", nodeName="a")) == held(
        "1 node(s) had no available volume zone, 2 node(s) didn't match the requested node name"
    )


def test_a_claim_for_one_pod_keeps_others_off_every_node() -> None:
    core = StorageCore()
    core.have(volume("v"), claim("data", volume="v", accessModes=["ReadWriteOncePod"]))
    core.cluster.place(using("first", "data"), "a")
    message = core.decide(using("second", "data"))
    assert message == held(
        "3 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
        "already in-use by another pod"
    )
    _, outcome = core.preempt(using("vital", "data", priority=10))
    assert outcome.candidate is not None
    assert [victim.uid for victim in outcome.candidate.victims] == ["first"]
    core.cluster.remove("first")
    assert core.decide(using("second", "data")) in ("a", "b", "c")


def test_disks_that_cannot_be_shared_keep_pods_apart() -> None:
    core = StorageCore(node("a"), node("b"))
    disk = [{"name": "d", "gcePersistentDisk": {"pdName": "disk"}}]
    core.cluster.place(pod("first", volumes=disk), "a")
    assert core.decide(pod("second", volumes=disk)) == "b"
    core.cluster.place(pod("second", volumes=disk), "b")
    assert core.decide(pod("third", volumes=disk)) == (
        "0/2 nodes are available: 2 node(s) had no available disk."
    )


def test_a_node_attaches_no_more_volumes_than_its_driver_can() -> None:
    core = StorageCore(node("a"))
    csi_node = {
        "metadata": {"name": "a", "uid": "csi-a"},
        "spec": {"drivers": [{"name": "disk", "allocatable": {"count": 1}}]},
    }
    core.storage.csi_node_changed(None, csi_node)
    for name in ("v", "w"):
        core.have(volume(name, csi={"driver": "disk", "volumeHandle": name}))
        core.have(claim(f"claim-{name}", volume=name))
    core.cluster.place(using("first", "claim-v"), "a")
    assert core.decide(using("same", "claim-v")) == "a", "an attached volume counts once"
    assert core.decide(using("other", "claim-w")) == (
        "0/1 nodes are available: 1 node(s) exceed max volume count."
    )


def test_a_node_that_can_attach_is_found_among_many_that_cannot() -> None:
    nodes = [node(f"n{number}") for number in range(3 * PROBES)]
    core = StorageCore(*nodes)
    core.cluster.place(pod("there"), "n7")
    for number in range(3 * PROBES):
        driver = {"name": "disk", "allocatable": {"count": int(number == 7)}}
        meta = {"name": f"n{number}", "uid": f"c{number}"}
        core.storage.csi_node_changed(None, {"metadata": meta, "spec": {"drivers": [driver]}})
    csi = {"driver": "disk", "volumeHandle": "v"}
    core.have(volume("v", csi=csi), claim("data", volume="v"))
    assert {core.decide(using(f"p{number}", "data")) for number in range(5)} == {"n7"}
    core.have(volume("w", csi={**csi, "volumeHandle": "w"}), claim("more", volume="w"))
    both = core.decide(using("p", "data", "more"))
    assert both.endswith(f"{3 * PROBES} node(s) exceed max volume count.")


def test_classes_of_pods_whose_volumes_reach_the_same_nodes_share_their_totals() -> None:
    core = StorageCore()
    core.have(*(volume(f"v{n}", at="b" if n < 2 else "c") for n in range(3)))
    core.have(*(claim(f"c{n}", volume=f"v{n}") for n in range(3)))
    first, same, other = (core.decider.pod_class(using(f"p{n}", f"c{n}")) for n in range(3))
    assert first.totals is same.totals
    assert first.totals is not other.totals
    assert [core.decide(using(f"q{n}", f"c{n}")) for n in range(3)] == ["b", "b", "c"]


def test_volumes_of_kinds_that_a_driver_took_over_count_as_its_own() -> None:
    core = StorageCore(node("a"))
    driver = {"name": "ebs.csi.aws.com", "allocatable": {"count": 2}}
    csi_node = {"metadata": {"name": "a", "uid": "csi-a"}, "spec": {"drivers": [driver]}}
    core.storage.csi_node_changed(None, csi_node)
    disk = {"name": "d", "awsElasticBlockStore": {"volumeID": "aws://east/vol-1"}}
    core.cluster.place(pod("first", volumes=[disk]), "a")
    core.have(volume("v", awsElasticBlockStore={"volumeID": "vol-2"}), claim("data", volume="v"))
    core.cluster.place(using("second", "data"), "a")
    full = "0/1 nodes are available: 1 node(s) exceed max volume count."
    core.have(volume("w", csi={"driver": "ebs.csi.aws.com", "volumeHandle": "vol-3"}))
    core.have(claim("more", volume="w"))
    assert core.decide(using("third", "more")) == full
    third = {"name": "d", "awsElasticBlockStore": {"volumeID": "vol-3"}}
    assert core.decide(pod("fourth", volumes=[third])) == full
    core.have(volume("x", awsElasticBlockStore={"volumeID": "vol-1"}), claim("same", volume="x"))
    assert core.decide(using("fifth", "same")) == "a"


def test_a_pod_waits_until_its_resource_claims_are_allocated() -> None:
    core = StorageCore()
    one = pod("p", resourceClaims=[{"name": "gpu", "resourceClaimName": "gpu"}])
    gate = core.profile.gate(one)
    assert gate == ("DynamicResources", 'resourceclaim.resource.k8s.io "gpu" not found')
    request = {"name": "one", "exactly": {"deviceClassName": "gpu"}}
    made: Obj = {
        "metadata": {"name": "gpu", "namespace": "default", "uid": "gpu"},
        "spec": {"devices": {"requests": [request]}},
    }
    core.storage.device_class_changed(None, {"metadata": {"name": "gpu", "uid": "g"}, "spec": {}})
    core.storage.resource_claim_changed(None, made)
    assert core.profile.gate(one) is None
    assert core.decide(one) == held("3 cannot allocate all claims")
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["c"]}
    place = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    allocated = {**made, "status": {"allocation": {"nodeSelector": place}}}
    core.storage.resource_claim_changed(made, allocated)
    assert core.decide(one) == "c"


def test_a_claim_from_a_template_must_be_named_in_the_status() -> None:
    core = StorageCore()
    one = pod("p", resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}])
    gate = core.profile.gate(one)
    assert gate == ("DynamicResources", 'pod "default/p": ResourceClaim not created yet')


def fast_class(core: StorageCore, **spec: Any) -> None:
    """A class whose CSI driver may say where it has room."""
    fast = {"metadata": {"name": "fast", "uid": "fast"}, "provisioner": "example.com/disk"}
    core.storage.class_changed(None, {**fast, "volumeBindingMode": DELAYED})
    driver = {"metadata": {"name": "example.com/disk", "uid": "driver"}, "spec": spec}
    core.storage.csi_driver_changed(None, driver)


def room(name: str, at: str, **sizes: str) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "csi", "uid": name},
        "storageClassName": "fast",
        "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": at}},
        **sizes,
    }


def test_claims_are_provisioned_where_the_driver_has_room() -> None:
    core = StorageCore()
    fast_class(core, storageCapacity=True)
    core.have(claim("data", "10Gi", cls="fast"))
    one = using("p", "data")
    assert core.decide(one) == held("3 node(s) did not have enough free storage")
    # The largest volume counts where a driver tells it, and else what is left.
    core.storage.capacity_changed(None, room("a", "a", capacity="100Gi", maximumVolumeSize="5Gi"))
    assert core.decide(one) == held("3 node(s) did not have enough free storage")
    core.storage.capacity_changed(None, room("b", "b", capacity="10Gi"))
    assert core.decide(one) == "b"


def test_drivers_that_do_not_tell_capacity_are_believed_to_have_room() -> None:
    core = StorageCore()
    fast_class(core)
    core.have(claim("data", "10Gi", cls="fast"))
    assert core.decide(using("p", "data")) in ("a", "b", "c")


def test_attached_volumes_count_even_without_a_pod() -> None:
    core = StorageCore(node("a"))
    driver = {"name": "example.com/disk", "nodeID": "a", "allocatable": {"count": 1}}
    csi_node = {"metadata": {"name": "a", "uid": "a"}, "spec": {"drivers": [driver]}}
    core.storage.csi_node_changed(None, csi_node)
    for name in ("old", "new"):
        core.have(volume(name, csi={"driver": "example.com/disk", "volumeHandle": name}))
        core.have(claim(name, volume=name))
    attachment = {
        "metadata": {"name": "csi-1", "uid": "csi-1"},
        "spec": {
            "attacher": "example.com/disk",
            "nodeName": "a",
            "source": {"persistentVolumeName": "old"},
        },
    }
    core.storage.attachment_changed(None, attachment)
    full = "0/1 nodes are available: 1 node(s) exceed max volume count."
    assert core.decide(using("p", "new")) == full
    core.storage.attachment_changed(attachment, None)
    assert core.decide(using("p", "new")) == "a"
    assert core.storage.attachments == {}


def test_hints_tell_what_may_help_pods_with_volumes() -> None:
    core = StorageCore()
    one = using("p", "data")

    def hints(plugin: str, event: ClusterEvent, old: Obj | None, new: Obj | None) -> bool:
        registered = core.profile.by_name[plugin].registrations()
        matching = [r for r in registered if r.event.covers(event)]
        return any(r.hint(one, old, new) is Hint.QUEUE for r in matching)

    grown = ClusterEvent(EventResource.CSI_STORAGE_CAPACITY, Action.UPDATE_OTHER)
    small, large = room("a", "a", capacity="1Gi"), room("a", "a", capacity="2Gi")
    assert hints("VolumeBinding", grown, small, large)
    assert not hints("VolumeBinding", grown, large, small)
    claimed = ClusterEvent(EventResource.PERSISTENT_VOLUME_CLAIM, Action.ADD)
    assert hints("VolumeBinding", claimed, None, claim("data"))
    assert not hints("VolumeBinding", claimed, None, claim("other"))
    detached = ClusterEvent(EventResource.VOLUME_ATTACHMENT, Action.DELETE)
    assert hints("NodeVolumeLimits", detached, {}, None)
    deleted = ClusterEvent(EventResource.ASSIGNED_POD, Action.DELETE)
    assert hints("NodeVolumeLimits", deleted, using("q", "x", nodeName="a"), None)
    assert not hints("NodeVolumeLimits", deleted, pod("q", nodeName="a"), None)


def test_pods_that_go_help_those_that_wanted_the_same_disk_or_claim() -> None:
    core = StorageCore()
    (registration, *_) = core.profile.by_name["VolumeRestrictions"].registrations()
    one = using("p", "data")
    assert registration.hint(one, using("q", "data"), None) is Hint.QUEUE
    assert registration.hint(one, using("q", "other"), None) is Hint.SKIP
    disk = [{"name": "d", "gcePersistentDisk": {"pdName": "disk"}}]
    assert registration.hint(pod("p", volumes=disk), pod("q", volumes=disk), None) is Hint.QUEUE
    elsewhere = using("q", "data")
    elsewhere["metadata"]["namespace"] = "elsewhere"
    assert registration.hint(one, elsewhere, None) is Hint.SKIP
