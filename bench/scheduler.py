"""The scheduler's pure core: CPU per decision, by workload and number of nodes.

Run ``python bench/scheduler.py [nodes ...]``. Each figure is process CPU time around decide and
place for a stream of pods, with the nodes loaded; workloads follow upstream's scheduler_perf.
"""

import gc
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.storage import StorageObjects
from kybern.scheduler.configuration import ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.preemption_search import PreemptionSearch
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]
PodMaker = Callable[[int], Obj]

PODS = 2000
CLAIMED = 100
ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


def node(number: int) -> Obj:
    labels = {HOST: f"n{number}", ZONE: f"zone-{number % 3}"}
    allocatable = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    return {
        "metadata": {"name": f"n{number}", "labels": labels},
        "spec": {},
        "status": {"allocatable": allocatable},
    }


def pod(number: int, cpu: str = "100m", **spec: Any) -> Obj:
    container = {"name": "c", "image": "pause"}
    resources = {"requests": {"cpu": cpu, "memory": "500Mi"}}
    return {
        "metadata": {
            "name": f"p{number}",
            "namespace": "default",
            "uid": f"u{number}",
            "labels": {"app": "bench"},
        },
        "spec": {"containers": [{**container, "resources": resources}], **spec},
    }


def selector() -> Obj:
    return {"matchLabels": {"app": "bench"}}


def affinity_of(side: str, key: str) -> PodMaker:
    term = {"topologyKey": key, "labelSelector": selector()}
    affinity = {side: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return lambda number: pod(number, affinity=affinity)


def preferred_affinity(number: int) -> Obj:
    term = {"topologyKey": ZONE, "labelSelector": selector()}
    weighted = [{"weight": 1, "podAffinityTerm": term}]
    side = {"preferredDuringSchedulingIgnoredDuringExecution": weighted}
    return pod(number, affinity={"podAffinity": side})


def spreading(action: str) -> PodMaker:
    constraint = {
        "topologyKey": ZONE,
        "maxSkew": 5,
        "whenUnsatisfiable": action,
        "labelSelector": selector(),
    }
    return lambda number: pod(number, topologySpreadConstraints=[constraint])


def node_affinity(number: int) -> Obj:
    expression = {"key": ZONE, "operator": "In", "values": ["zone-1", "zone-2"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return pod(number, affinity=affinity)


WORKLOADS: dict[str, PodMaker] = {
    "basic": pod,
    "100 classes interleaved": lambda number: pod(number, cpu=f"{50 + number % 100}m"),
    "1000 classes interleaved": lambda number: pod(number, cpu=f"{50 + number % 1000}m"),
    "each pod a class of its own": lambda number: pod(number, cpu=f"{50 + number}m"),
    "node affinity": node_affinity,
    "pod anti-affinity": affinity_of("podAntiAffinity", HOST),
    "pod affinity": affinity_of("podAffinity", ZONE),
    "preferred pod affinity": preferred_affinity,
    "topology spreading": spreading("DoNotSchedule"),
    "preferred spreading": spreading("ScheduleAnyway"),
    "unschedulable": lambda number: pod(number, cpu="9"),
}


def mixed(number: int) -> Obj:
    """Pods of all kinds in turn."""
    makers = [maker for name, maker in WORKLOADS.items() if "class" not in name]
    return makers[number % len(makers)](number)


def make(nodes: int) -> tuple[ClusterColumns, Profile, Decider]:
    cluster = ClusterColumns()
    for number in range(nodes):
        cluster.set_node(node(number))
    profile = Profile(ProfileSettings(), cluster)
    return cluster, profile, Decider(cluster, profile, Nominations(), random.Random(1))


def measure(nodes: int, maker: PodMaker) -> float:
    """CPU microseconds a pod; pods that find no node count too. Classes that come again have been
    there before."""
    cluster, _, decider = make(nodes)
    pods = [maker(number) for number in range(PODS)]
    for number in range(1000):
        decider.decide(maker(PODS + number))
    start = time.process_time()
    for one in pods:
        outcome = decider.decide(one)
        if isinstance(outcome, Placement):
            cluster.place(one, outcome.node)
    return (time.process_time() - start) / PODS * 1e6


def bound_claim(storage: StorageObjects, number: int) -> Obj:
    """A pod with a claim that has its volume."""
    meta = {"name": f"c{number}", "uid": f"c{number}"}
    spec = {"csi": {"driver": "disk", "volumeHandle": f"c{number}"}}
    storage.volume_changed(None, {"metadata": meta, "spec": spec})
    bound = {"pv.kubernetes.io/bind-completed": "yes"}
    meta = {**meta, "namespace": "default", "annotations": bound}
    storage.claim_changed(None, {"metadata": meta, "spec": {"volumeName": f"c{number}"}})
    source = {"claimName": f"c{number}"}
    return pod(number, volumes=[{"name": "v", "persistentVolumeClaim": source}])


def waiting_claim(storage: StorageObjects, number: int) -> Obj:
    """A pod with a claim that is provisioned for its node."""
    meta = {"name": "fast", "uid": "fast"}
    delayed = {"provisioner": "disk", "volumeBindingMode": "WaitForFirstConsumer"}
    storage.class_changed(None, {"metadata": meta, **delayed})
    meta = {"name": f"c{number}", "namespace": "default", "uid": f"c{number}"}
    wanted = {"requests": {"storage": "1Gi"}}
    spec = {"storageClassName": "fast", "resources": wanted}
    storage.claim_changed(None, {"metadata": meta, "spec": spec})
    source = {"claimName": f"c{number}"}
    return pod(number, volumes=[{"name": "v", "persistentVolumeClaim": source}])


def device_claim(storage: StorageObjects, number: int) -> Obj:
    """A pod with a claim for one of the devices of a node."""
    storage.device_class_changed(None, {"metadata": {"name": "any", "uid": "any"}, "spec": {}})
    meta = {"name": f"c{number}", "namespace": "default", "uid": f"c{number}"}
    request = {"name": "r", "exactly": {"deviceClassName": "any"}}
    spec = {"devices": {"requests": [request]}}
    storage.resource_claim_changed(None, {"metadata": meta, "spec": spec})
    return pod(number, resourceClaims=[{"name": "r", "resourceClaimName": f"c{number}"}])


CLAIMS: dict[str, Callable[[StorageObjects, int], Obj]] = {
    "a bound claim each": bound_claim,
    "a claim to provision each": waiting_claim,
    "a claim for a device each": device_claim,
}


def describe_storage(storage: StorageObjects, name: str) -> None:
    """A driver on the node that attaches so many volumes, and devices there."""
    driver = {"name": "disk", "allocatable": {"count": 30}}
    meta = {"name": name, "uid": name}
    storage.csi_node_changed(None, {"metadata": meta, "spec": {"drivers": [driver]}})
    pool = {"name": name, "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": f"d{number}"} for number in range(4)]
    spec = {"driver": "d.example.com", "nodeName": name, "pool": pool, "devices": devices}
    storage.resource_slice_changed(None, {"metadata": meta, "spec": spec})


def measure_claims(nodes: int, maker: Callable[[StorageObjects, int], Obj]) -> float:
    """CPU microseconds a pod, each with a claim of its own."""
    cluster, _, decider = make(nodes)
    for number in range(nodes):
        describe_storage(cluster.storage, f"n{number}")
    pods = [maker(cluster.storage, number) for number in range(CLAIMED)]
    # So few decisions pay neither for what was made here before nor for what is loaded late.
    decider.decide(pods[0])
    gc.collect()
    start = time.process_time()
    for one in pods:
        outcome = decider.decide(one)
        assert isinstance(outcome, Placement)
        cluster.place(one, outcome.node)
    return (time.process_time() - start) / CLAIMED * 1e6


def measure_preemption(nodes: int, are_gone: bool) -> float:
    """CPU microseconds for a failed decision and a search on full nodes, by as many pods as half
    the nodes. Victims are taken away at once, or all of them are still ending while pod after pod
    is nominated."""
    cluster, profile, decider = make(nodes)
    count = nodes // 2
    for number in range(nodes * 4):
        cluster.place(pod(number, cpu="900m", priority=0), f"n{number % nodes}")
    plugin = profile.by_name["DefaultPreemption"]
    assert isinstance(plugin, DefaultPreemption)
    search = PreemptionSearch(plugin, decider)
    start = time.process_time()
    for number in range(count):
        one = pod(10**6 + number, cpu="3", priority=10)
        outcome = decider.decide(one)
        assert not isinstance(outcome, Placement)
        found = search.find(one, outcome, [], is_preempting=False)
        assert found.candidate is not None
        if not are_gone:
            decider.nominations.add(one, found.candidate.node)
            continue
        for victim in found.candidate.victims:
            cluster.remove(victim.uid)
        cluster.place(one, found.candidate.node)
    return (time.process_time() - start) / count * 1e6


def main() -> None:
    sizes = [int(text) for text in sys.argv[1:]] or [100, 1000, 5000, 15000]
    print(f"{'CPU us a pod':28}" + "".join(f"{size:>10}" for size in sizes))
    for name, maker in (*WORKLOADS.items(), ("mixed", mixed)):
        figures = [measure(size, maker) for size in sizes]
        print(f"{name:28}" + "".join(f"{figure:>10.0f}" for figure in figures))
    for name, claimed in CLAIMS.items():
        figures = [measure_claims(size, claimed) for size in sizes]
        print(f"{name:28}" + "".join(f"{figure:>10.0f}" for figure in figures))
    for name, are_gone in (("preemption", True), ("preemption, victims ending", False)):
        figures = [measure_preemption(size, are_gone) for size in sizes]
        print(f"{name:28}" + "".join(f"{figure:>10.0f}" for figure in figures))


if __name__ == "__main__":
    main()
