"""Virtual time jumps, waits when told to, and replays a run by its seed."""

import asyncio
import time
from typing import Any

import pytest

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import DEPLOYMENTS, EVENTS, JOBS, PODS, REPLICA_SETS
from kybern.testing import Cluster, VirtualClock, advance, run
from kybern.testing.virtual_time import EPOCH, Stuck

LABELS = {"app": "web"}


def deployment(replicas: int) -> Obj:
    spec = {"containers": [{"name": "web", "image": "web:1"}]}
    template = {"metadata": {"labels": LABELS}, "spec": spec}
    body = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": body}


def job() -> Obj:
    spec = {"containers": [{"name": "sum", "image": "sum:1"}], "restartPolicy": "Never"}
    meta = {"name": "sum", "namespace": "default"}
    return {"metadata": meta, "spec": {"completions": 3, "template": {"spec": spec}}}


def complete(obj: Obj) -> bool:
    return objects.condition_is(obj, "Complete")


async def one_life(seed: int) -> list[Any]:
    """What a small cluster has come to after a rollout, a Job and the loss of a pod."""
    async with Cluster(nodes=3, seed=seed) as cluster:
        client = cluster.client
        await client.create(DEPLOYMENTS, deployment(5))
        await client.create(JOBS, job())
        await cluster.wait_for(JOBS, "sum", complete)
        victim = (await client.list(PODS, "default", label_selector="app=web"))["items"][0]
        await client.delete(PODS, objects.name(victim), "default")
        await asyncio.sleep(60)
        told: list[Any] = []
        for resource in (PODS, REPLICA_SETS, EVENTS):
            for obj in (await client.list(resource))["items"]:
                meta = obj["metadata"]
                where = obj.get("spec", {}).get("nodeName", "")
                told.append((meta["name"], meta["uid"], meta["creationTimestamp"], where))
        return told


def test_a_seed_replays_a_run() -> None:
    first = run(one_life(7))
    assert len(first) > 20
    assert run(one_life(7)) == first
    assert run(one_life(8)) != first


def test_an_hour_passes_in_a_moment() -> None:
    async def wait_an_hour() -> float:
        await asyncio.sleep(3600)
        return VirtualClock().time()

    started = time.monotonic()
    assert run(wait_an_hour()) == EPOCH + 3600
    assert time.monotonic() - started < 60


def test_without_autojump_time_moves_by_advance_alone() -> None:
    async def main() -> list[str]:
        heard: list[str] = []
        loop = asyncio.get_running_loop()
        loop.call_later(10, heard.append, "ten")
        loop.call_later(20, heard.append, "twenty")
        await advance(5)
        assert heard == []
        await advance(10)
        assert heard == ["ten"]
        await advance(10)
        return heard

    assert run(main(), autojump=False) == ["ten", "twenty"]


def test_tasks_that_wait_for_each_other_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.testing.virtual_time.STUCK_SECONDS", 0.01)

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main())
