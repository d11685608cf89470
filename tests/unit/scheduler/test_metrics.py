"""Metrics under upstream's names."""

from kybern.scheduler.metrics import SCHEDULED, Metrics, Sources


def test_names_and_labels_are_upstreams() -> None:
    sources = Sources(
        lambda: {"active": 3, "gated": 1},
        lambda: {"nodes": 5},
        lambda: {("NodeResourcesFit", "default-scheduler"): 2},
    )
    metrics = Metrics(sources)
    metrics.attempted("default-scheduler", SCHEDULED, 0.002)
    metrics.bound(attempts=2, seconds=0.5)
    metrics.preempted(victims=4)
    text = metrics.text().decode()
    labels = 'profile="default-scheduler",result="scheduled"'
    for line in (
        f"scheduler_schedule_attempts_total{{{labels}}} 1.0",
        f"scheduler_scheduling_attempt_duration_seconds_count{{{labels}}} 1.0",
        'scheduler_pending_pods{queue="active"} 3.0',
        'scheduler_cache_size{type="nodes"} 5.0',
        'scheduler_unschedulable_pods{plugin="NodeResourcesFit",profile="default-scheduler"} 2.0',
        'scheduler_pod_scheduling_sli_duration_seconds_count{attempts="2"} 1.0',
        "scheduler_pod_scheduling_attempts_sum 2.0",
        "scheduler_preemption_attempts_total 1.0",
        "scheduler_preemption_victims_sum 4.0",
        'leader_election_master_status{name="kube-scheduler"} 1.0',
    ):
        assert line in text
