"""Health and metrics over HTTP, under upstream's names."""

import asyncio
from urllib.request import urlopen

from kybern.component.clock import Clock
from kybern.scheduler.metrics import SCHEDULED, Metrics
from kybern.scheduler.observing import Observed, observing


async def test_health_and_metrics_are_served_while_the_scheduler_works() -> None:
    observed = Observed()
    observed.metrics = Metrics(lambda: {"active": 3, "gated": 1})
    observed.metrics.attempted("default-scheduler", SCHEDULED, 0.002)
    observed.metrics.bound(attempts=2, seconds=0.5)
    observed.metrics.preempted(victims=4)
    ports: list[int] = []

    def fetch(path: str) -> str:
        with urlopen(f"http://127.0.0.1:{ports[0]}{path}") as answer:
            return str(answer.read().decode())

    async with observing(observed, "127.0.0.1:0", Clock(), ports.append):
        assert await asyncio.to_thread(fetch, "/healthz") == "ok"
        text = await asyncio.to_thread(fetch, "/metrics")
    labels = 'profile="default-scheduler",result="scheduled"'
    assert f"scheduler_schedule_attempts_total{{{labels}}} 1.0" in text
    assert f"scheduler_scheduling_attempt_duration_seconds_count{{{labels}}} 1.0" in text
    assert 'scheduler_pending_pods{queue="active"} 3.0' in text
    assert 'scheduler_pod_scheduling_sli_duration_seconds_count{attempts="2"} 1.0' in text
    assert "scheduler_pod_scheduling_attempts_sum 2.0" in text
    assert "scheduler_preemption_attempts_total 1.0" in text
    assert "scheduler_preemption_victims_sum 4.0" in text
