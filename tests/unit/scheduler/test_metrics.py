"""Metrics under upstream's names: families, types, labels and buckets as kube-scheduler's."""

import re

from kybern.scheduler.events import NODE_ADD, Hint
from kybern.scheduler.metrics import SCHEDULED, SUCCESS, Metrics

PROFILE = "default-scheduler"

# What kube-scheduler 1.36 showed of a cluster in which each of these happened.
FAMILIES: dict[str, tuple[str, set[str]]] = {
    "leader_election_master_status": ("gauge", {"name"}),
    "scheduler_cache_size": ("gauge", {"type"}),
    "scheduler_event_handling_duration_seconds": ("histogram", {"event"}),
    "scheduler_framework_extension_point_duration_seconds": (
        "histogram",
        {"extension_point", "profile", "status"},
    ),
    "scheduler_goroutines": ("gauge", {"operation"}),
    "scheduler_inflight_events": ("gauge", {"event"}),
    "scheduler_pending_pods": ("gauge", {"queue"}),
    "scheduler_plugin_evaluation_total": ("counter", {"extension_point", "plugin", "profile"}),
    "scheduler_plugin_execution_duration_seconds": (
        "histogram",
        {"extension_point", "plugin", "status"},
    ),
    "scheduler_pod_scheduled_after_flush_total": ("counter", set()),
    "scheduler_pod_scheduling_attempts": ("histogram", set()),
    "scheduler_pod_scheduling_sli_duration_seconds": ("histogram", {"attempts"}),
    "scheduler_preemption_attempts_total": ("counter", set()),
    "scheduler_preemption_goroutines_duration_seconds": ("histogram", {"result"}),
    "scheduler_preemption_goroutines_execution_total": ("counter", {"result"}),
    "scheduler_preemption_victims": ("histogram", set()),
    "scheduler_queue_incoming_pods_total": ("counter", {"event", "queue"}),
    "scheduler_queueing_hint_execution_duration_seconds": (
        "histogram",
        {"event", "hint", "plugin"},
    ),
    "scheduler_resourceclaim_creates_total": ("counter", {"status"}),
    "scheduler_schedule_attempts_total": ("counter", {"profile", "result"}),
    "scheduler_scheduling_algorithm_duration_seconds": ("histogram", set()),
    "scheduler_scheduling_attempt_duration_seconds": ("histogram", {"profile", "result"}),
    "scheduler_unschedulable_pods": ("gauge", {"plugin", "profile"}),
    "scheduler_volume_scheduling_stage_error_total": ("counter", {"operation"}),
}
# The first bucket's bound, the last one's, and how many there are besides the infinite one.
BUCKETS = {
    "scheduler_event_handling_duration_seconds": ("0.0001", "0.2048", 12),
    "scheduler_framework_extension_point_duration_seconds": ("0.0001", "0.2048", 12),
    "scheduler_plugin_execution_duration_seconds": ("1e-05", "0.02216837820053101", 20),
    "scheduler_pod_scheduling_attempts": ("1", "16", 5),
    "scheduler_pod_scheduling_sli_duration_seconds": ("0.01", "5242.88", 20),
    "scheduler_preemption_goroutines_duration_seconds": ("0.01", "5242.88", 20),
    "scheduler_preemption_victims": ("1", "64", 7),
    "scheduler_queueing_hint_execution_duration_seconds": ("1e-05", "0.02216837820053101", 20),
    "scheduler_scheduling_algorithm_duration_seconds": ("0.001", "16.384", 15),
    "scheduler_scheduling_attempt_duration_seconds": ("0.001", "16.384", 15),
}


def full() -> Metrics:
    """Metrics of a scheduler that has seen everything."""
    metrics = Metrics(
        {
            "pending_pods": lambda: {("active",): 3},
            "cache_size": lambda: {("nodes",): 5},
            "inflight_events": lambda: {("PodPopped",): 1},
            "goroutines": lambda: {("binding",): 2},
            "unschedulable_pods": lambda: {("NodeResourcesFit", PROFILE): 2},
            "queue_incoming_pods_total": lambda: {("active", "UnschedulablePodAdd"): 7},
            "plugin_evaluation_total": lambda: {("NodeAffinity", "Filter", PROFILE): 9},
        }
    )
    metrics.attempted(PROFILE, SCHEDULED, 0.002)
    metrics.bound(attempts=2, seconds=0.5, after_flush=True)
    metrics.searched_victims()
    metrics.preempted(victims=4)
    metrics.evicted(SUCCESS, 0.2)
    metrics.ran("Filter", "Success", PROFILE, 0.001)
    metrics.ran_plugin("NodeAffinity", "Filter", "Success", 0.0001)
    metrics.handled(NODE_ADD.label, 0.001)
    metrics.made_claim(True)
    metrics.volumes_failed()
    metrics.hinted("NodeAffinity", NODE_ADD, Hint.QUEUE, 0.00001)
    return metrics


def test_families_types_and_labels_are_upstreams() -> None:
    text = full().text().decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    found: dict[str, tuple[str, set[str]]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        family = name if name in types else name.rpartition("_")[0]
        names = set(re.findall(r'(\w+)="', labels)) - {"le"}
        found[family] = (types[family], names)
    beside = {family: each for family, each in found.items() if family not in FAMILIES}
    assert {family: found.get(family) for family in FAMILIES} == FAMILIES
    assert set(beside) >= {"kubernetes_build_info", "kubernetes_feature_enabled"}
    assert not [family for family in beside if family.startswith("scheduler_")]


def test_buckets_are_upstreams() -> None:
    text = full().text().decode()
    for name, (first, last, count) in BUCKETS.items():
        bounds = re.findall(rf'^{name}_bucket{{.*le="([^"]+)"}}', text, re.MULTILINE)
        assert (bounds[0], bounds[-2], bounds[-1], len(bounds)) == (first, last, "+Inf", count + 1)


def test_numbers_are_what_was_counted() -> None:
    lines = full().text().decode().splitlines()
    for line in (
        f'scheduler_schedule_attempts_total{{result="scheduled",profile="{PROFILE}"}} 1',
        'scheduler_pending_pods{queue="active"} 3',
        f'scheduler_unschedulable_pods{{plugin="NodeResourcesFit",profile="{PROFILE}"}} 2',
        'scheduler_pod_scheduling_sli_duration_seconds_count{attempts="2"} 1',
        "scheduler_pod_scheduling_attempts_sum 2",
        "scheduler_pod_scheduled_after_flush_total 1",
        "scheduler_preemption_victims_sum 4",
    ):
        assert line in lines
