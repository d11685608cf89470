"""Which pods go so that a critical one fits."""

from typing import Any

import pytest
from kubelet_pods import container, pod

from kybern.kubelet.admission.predicates import Shortage
from kybern.kubelet.admission.preemption import NoVictims, victims

Obj = dict[str, Any]
CRITICAL = 2_000_000_000


def asking(name: str, cpu: str = "", memory: str = "", *, bound: bool = False, **spec: Any) -> Obj:
    """A pod by its requests; one whose limits are its requests is Guaranteed."""
    amounts = {kind: text for kind, text in (("cpu", cpu), ("memory", memory)) if text}
    sides = ("requests", "limits") if bound else ("requests",)
    resources = dict.fromkeys(sides, amounts) if amounts else {}
    made = pod(container(resources=resources), **spec)
    return {**made, "metadata": {**made["metadata"], "name": name, "uid": name}}


def chosen(running: list[Obj], priority: int = CRITICAL, **missing: int) -> list[str]:
    short = [Shortage(resource, amount, 0, 0) for resource, amount in missing.items()]
    critical = asking("critical", priority=priority)
    return [each["metadata"]["name"] for each in victims(critical, running, short)]


def test_the_smallest_pod_that_is_enough_goes() -> None:
    pods = [asking("small", "100m"), asking("right", "500m"), asking("large", "2")]
    assert chosen(pods, cpu=400) == ["right"]
    assert chosen(pods, cpu=2100) == ["large", "small"]
    assert chosen(pods, cpu=50) == ["small"]


def test_guaranteed_pods_go_last() -> None:
    pods = [
        asking("guaranteed", "1", "1Gi", bound=True),
        asking("burstable", "500m", "64Mi"),
        asking("best-effort"),
    ]
    assert chosen(pods, cpu=500) == ["burstable"]
    assert chosen(pods, cpu=1000) == ["guaranteed"]
    assert chosen(pods, cpu=1400) == ["burstable", "guaranteed"]
    assert chosen(pods, pods=1) == ["best-effort"]


def test_every_resource_counts_alike() -> None:
    pods = [asking("much-cpu", "2", "10Mi"), asking("both", "500m", "500Mi")]
    assert chosen(pods, cpu=500, memory=500 * 1024**2) == ["both"]


def test_only_less_important_pods_go() -> None:
    peers = [asking("critical-too", "1", priority=CRITICAL)]
    with pytest.raises(NoVictims) as failed:
        chosen(peers, cpu=100)
    assert str(failed.value) == (
        "preemption: error finding a set of pods to preempt: "
        "no set of running pods found to reclaim resources: [(res: cpu, q: 100), ]"
    )
    assert chosen(peers, CRITICAL + 1, cpu=100) == ["critical-too"]
