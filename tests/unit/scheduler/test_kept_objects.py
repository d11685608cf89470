"""Bound pods are kept without what only their node needs, and count as before."""

import random

import orjson
from random_world import make_pod, resized, stored
from test_decision import node

from kybern.scheduler.columns.cluster import ClusterColumns, PlacedPod
from kybern.scheduler.kept_objects import KeptObjects, Obj


def copied(obj: Obj) -> Obj:
    copy: Obj = orjson.loads(orjson.dumps(obj))
    return copy


def bound(number: int) -> Obj:
    rng = random.Random(number)
    pod = stored(make_pod(rng, number))
    spec = {**pod["spec"], "nodeName": "a", "dnsPolicy": "Default"}
    spec["volumes"] = [*spec.get("volumes", ()), {"name": "kube-api-access-x", "projected": {}}]
    return resized(rng, {**pod, "spec": spec})


def counted(pod: Obj) -> PlacedPod:
    cluster = ClusterColumns()
    cluster.set_node(node("a"))
    return cluster.place(pod, "a")


def test_a_kept_pod_counts_like_the_whole_one() -> None:
    kept = KeptObjects()
    for number in range(300):
        pod = bound(number)
        whole, slim = counted(pod), counted(kept.pod(copied(pod)))
        assert slim.group.key == whole.group.key
        for name in ("requests", "priority", "ports", "claims", "has_disks"):
            assert getattr(slim, name) == getattr(whole, name), name


def test_replicas_share_what_is_equal() -> None:
    kept = KeptObjects()
    one, other = (kept.pod(copied(bound(1))) for _ in range(2))
    other["metadata"]["name"] = "other"
    assert one["spec"]["containers"] is other["spec"]["containers"]
    assert one["metadata"]["name"] != "other"


def test_a_pod_that_waits_stays_whole_but_for_who_manages_it() -> None:
    pod = stored(make_pod(random.Random(1), 1))
    pod["spec"]["dnsPolicy"] = "Default"
    managed = copied(pod)
    managed["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    assert KeptObjects().pod(managed) == pod


def test_nodes_share_images_and_keep_all_else() -> None:
    image = {"names": ["app:1"], "sizeBytes": 5}
    kept = KeptObjects()
    first, second = (node(name) for name in "ab")
    for one in (first, second):
        one["status"]["images"] = [dict(image)]
    before = copied(first)
    assert kept.node(first) == before
    assert kept.node(second)["status"]["images"][0] is first["status"]["images"][0]
