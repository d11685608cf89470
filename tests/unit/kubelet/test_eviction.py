"""When a shortage counts, which pod goes for it, and which words it goes with."""

import re
from typing import Any

import pytest
from kubelet_pods import container, pod

from kybern.kubelet.eviction.ranking import (
    ContainerUsage,
    Disk,
    PodUsage,
    exceeded_limit,
    message,
    ranked,
)
from kybern.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    IMAGE_FS,
    MEMORY,
    NODE_FS,
    PIDS,
    Amount,
    Observation,
    Threshold,
    Watch,
    parse_thresholds,
)
from kybern.kubelet.pods import spec

Obj = dict[str, Any]
MEBI = 1024 * 1024
LOW = {MEMORY: Observation(50 * MEBI, 1000 * MEBI)}
FINE = {MEMORY: Observation(500 * MEBI, 1000 * MEBI)}
HARD = Threshold(MEMORY, Amount(100 * MEBI))


def named(name: str, request: str = "", resource: str = "memory", **fields: Any) -> Obj:
    asked = {"requests": {resource: request}} if request else {}
    made = pod(container(resources=asked), **fields)
    return {**made, "metadata": {**made["metadata"], "name": name, "uid": name}}


def using(memory: int) -> PodUsage:
    return PodUsage(memory * MEBI, containers={"main": ContainerUsage(memory * MEBI)})


def test_what_holds_for_the_node_holds_for_its_pods_together() -> None:
    found = parse_thresholds(
        {MEMORY: "100Mi"}, {MEMORY: "1Gi"}, {MEMORY: "1m"}, {}, allocatable=True
    )
    assert [(each.signal, each.hard) for each in found] == [
        (MEMORY, True),
        (MEMORY, False),
        (ALLOCATABLE_MEMORY, True),
    ]
    assert found[2].value == HARD.value


def test_thresholds_are_read_with_their_grace_and_reclaim() -> None:
    found = parse_thresholds(
        {MEMORY: "100Mi", NODE_FS: "10%", IMAGE_FS: "0%"},
        {MEMORY: "20%"},
        {MEMORY: "1m30s"},
        {MEMORY: "50Mi"},
    )
    reclaim = Amount(50 * MEBI)
    assert found == [
        Threshold(MEMORY, Amount(100 * MEBI), 0.0, reclaim),
        Threshold(NODE_FS, Amount(share=0.1)),
        Threshold(MEMORY, Amount(share=0.2), 90.0, reclaim),
    ]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (({"disk": "1"}, {}, {}, {}), "unsupported eviction signal disk"),
        (({MEMORY: "0"}, {}, {}, {}), "eviction threshold memory.available must be positive: 0"),
        (
            ({MEMORY: "120%"}, {}, {}, {}),
            "eviction percentage threshold memory.available must be <= 100%: 120%",
        ),
        (
            ({}, {MEMORY: "1Gi"}, {}, {}),
            "grace period must be specified for the soft eviction threshold memory.available",
        ),
        (({}, {}, {MEMORY: "soon"}, {}), 'time: invalid duration "soon"'),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_thresholds(*settings)


def test_a_soft_threshold_has_to_last() -> None:
    watch = Watch([Threshold(MEMORY, Amount(100 * MEBI), grace=30.0)], transition=0.0)
    assert watch.look(LOW, 0.0) == []
    assert watch.conditions == ("MemoryPressure",)
    assert watch.look(FINE, 20.0) == []
    assert watch.look(LOW, 25.0) == []
    assert len(watch.look(LOW, 55.0)) == 1


def test_a_shortage_is_over_with_its_reclaim_and_its_condition_later_still() -> None:
    threshold = Threshold(MEMORY, Amount(100 * MEBI), reclaim=Amount(100 * MEBI))
    watch = Watch([threshold], transition=300.0)
    between = {MEMORY: Observation(150 * MEBI, 1000 * MEBI)}
    assert watch.look(between, 0.0) == []
    assert watch.look(LOW, 10.0) == watch.look(between, 20.0) == [threshold]
    assert watch.look(FINE, 30.0) == []
    assert watch.conditions == ("MemoryPressure",)
    watch.look(FINE, 319.0)
    assert watch.conditions == ("MemoryPressure",)
    watch.look(FINE, 320.0)
    assert watch.conditions == ()


def test_memory_is_acted_on_before_all_else() -> None:
    pids = Threshold(PIDS, Amount(10))
    watch = Watch([pids, HARD], transition=0.0)
    assert watch.look({**LOW, PIDS: Observation(1, 100)}, 0.0) == [HARD, pids]


def test_pods_above_their_request_go_first_then_low_priority_then_the_largest() -> None:
    pods = [
        named("within", "100Mi"),
        named("above", "10Mi"),
        named("important", "10Mi", priority=5),
        named("far-above", "10Mi"),
        named("unknown", "100Mi", priority=9),
    ]
    usage = {
        "within": using(90),
        "above": using(20),
        "important": using(500),
        "far-above": using(50),
    }
    order = [p["metadata"]["name"] for p in ranked(pods, HARD, usage, False)]
    assert order == ["unknown", "far-above", "above", "important", "within"]


def test_the_disk_that_is_short_decides_what_counts() -> None:
    logs = PodUsage(containers={"main": ContainerUsage(logs=Disk(500, 1))})
    layer = PodUsage(containers={"main": ContainerUsage(layer=Disk(900, 1))})
    pods, usage = [named("logs"), named("layer")], {"logs": logs, "layer": layer}

    def first(signal: str, separate: bool) -> str:
        return ranked(pods, Threshold(signal, Amount(1)), usage, separate)[0]["metadata"]["name"]

    assert (first(NODE_FS, True), first(IMAGE_FS, True)) == ("logs", "layer")
    assert (first(NODE_FS, False), first(IMAGE_FS, False)) == ("layer", "layer")


def test_an_evicted_pod_is_told_why() -> None:
    text = message(named("p", "10Mi"), HARD, [HARD], LOW, using(20))
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container main was using 20Mi, request is 10Mi, has larger consumption of memory. "
    )
    assert message(named("p"), Threshold(PIDS, Amount(9)), [], {}, None) == (
        "The node was low on resource: pids. "
    )


def test_local_storage_above_a_limit_is_named() -> None:
    volume = {"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}
    assert exceeded_limit(pod(volumes=[volume]), PodUsage(volumes={"v": Disk(1024)}), False) == ""
    assert exceeded_limit(pod(volumes=[volume]), PodUsage(volumes={"v": Disk(1025)}), False) == (
        'Usage of EmptyDir volume "v" exceeds the limit "1Ki". '
    )
    limited = pod(container(resources={"limits": {"ephemeral-storage": "1Ki"}}))
    large = PodUsage(containers={"main": ContainerUsage(logs=Disk(2048))})
    assert exceeded_limit(limited, large, False) == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Ki. "
    )


def test_critical_and_static_pods_stay() -> None:
    static = pod()
    static["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert spec.is_critical(static)
    assert spec.is_critical(pod(priority=2_000_001_000))
    assert not spec.is_critical(pod(priority=1_999_999_999))
