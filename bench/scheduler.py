"""The scheduler's pure core: CPU per decision, by workload and number of nodes.

Run ``python bench/scheduler.py [nodes ...]``. Each figure is process CPU time around decide and
place for a stream of pods, with the nodes loaded; workloads follow upstream's scheduler_perf.
"""

import random
import sys
import time
from collections.abc import Callable
from typing import Any

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.preemption_search import PreemptionSearch
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]
PodMaker = Callable[[int], Obj]

PODS = 2000
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
    makers = [maker for name, maker in WORKLOADS.items() if "interleaved" not in name]
    return makers[number % len(makers)](number)


def make(nodes: int) -> tuple[ClusterColumns, Profile, Decider]:
    cluster = ClusterColumns()
    for number in range(nodes):
        cluster.set_node(node(number))
    profile = Profile(ProfileSettings(), cluster)
    return cluster, profile, Decider(cluster, profile, Nominations(), random.Random(1))


def measure(nodes: int, maker: PodMaker) -> float:
    """CPU microseconds a pod; pods that find no node count too."""
    cluster, _, decider = make(nodes)
    pods = [maker(number) for number in range(PODS)]
    warm = [maker(PODS + number) for number in range(min(1000, PODS))]
    for one in warm:
        decider.pod_class(one)
    start = time.process_time()
    for one in pods:
        outcome = decider.decide(one)
        if isinstance(outcome, Placement):
            cluster.place(one, outcome.node)
    return (time.process_time() - start) / PODS * 1e6


def measure_volumes(nodes: int) -> float:
    """CPU microseconds a pod, each with a bound claim of its own."""
    cluster, _, decider = make(nodes)
    count = 200
    pods = []
    for number in range(count):
        meta = {"name": f"c{number}", "uid": f"c{number}"}
        spec = {"csi": {"driver": "disk", "volumeHandle": f"c{number}"}}
        cluster.storage.volume_changed(None, {"metadata": meta, "spec": spec})
        bound = {"pv.kubernetes.io/bind-completed": "yes"}
        meta = {**meta, "namespace": "default", "annotations": bound}
        claim = {"metadata": meta, "spec": {"volumeName": f"c{number}"}}
        cluster.storage.claim_changed(None, claim)
        source = {"claimName": f"c{number}"}
        pods.append(pod(number, volumes=[{"name": "v", "persistentVolumeClaim": source}]))
    start = time.process_time()
    for one in pods:
        outcome = decider.decide(one)
        assert isinstance(outcome, Placement)
        cluster.place(one, outcome.node)
    return (time.process_time() - start) / count * 1e6


def measure_preemption(nodes: int, are_gone: bool) -> float:
    """CPU microseconds for a failed decision and a search on full nodes. Victims are taken away at
    once, or all of them are still ending while pod after pod is nominated."""
    cluster, profile, decider = make(nodes)
    count = min(PODS, nodes // 2)
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
    figures = [measure_volumes(size) for size in sizes]
    print(f"{'bound claims':28}" + "".join(f"{figure:>10.0f}" for figure in figures))
    for name, are_gone in (("preemption", True), ("preemption, victims ending", False)):
        figures = [measure_preemption(size, are_gone) for size in sizes]
        print(f"{name:28}" + "".join(f"{figure:>10.0f}" for figure in figures))


if __name__ == "__main__":
    main()
