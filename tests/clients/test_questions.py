"""``kybern why`` and its data, asked of a running server as people ask."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from kubectl_lab import Kubectl, until
from sample_objects import deployment, pod

from kybern.testing.plugin import Server

KYBERN = (sys.executable, "-m", "kybern.cluster.cli")


@pytest.fixture
def kybern(environment: dict[str, str], namespace: str) -> Any:
    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [*KYBERN, *arguments]
        if arguments[0] in ("why", "whatif"):
            command += ["-n", namespace]
        return subprocess.run(
            command, capture_output=True, text=True, env={**environment, **more}, timeout=60
        )

    return call


def huge(name: str) -> Any:
    wanted = pod(name)
    wanted["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "6400"}}
    return wanted


def test_a_pod_that_waits_is_explained(kybern: Any, current: Kubectl) -> None:
    current.apply(huge("big"))
    until(lambda: "big" in current.ok("get", "why").out)
    said = kybern("why", "pod", "big").stdout
    assert "No node is large enough: the pod asks for 6400 CPU" in said
    assert "\x1b[" not in said
    found = kybern("why", "pod", "big", "-o", "json")
    assert '"state": "Unschedulable"' in found.stdout
    row = current.ok("get", "podexplanations", "big", "--no-headers").out
    assert row.split()[:2] == ["big", "Unschedulable"]
    explained = current.ok("explain", "podexplanation.status.closest").out
    assert "The nodes that came closest, the best one first." in explained


def test_a_running_pod_shows_its_scores(kybern: Any, current: Kubectl) -> None:
    current.apply(pod("web"))
    until(lambda: "Running" in current.ok("get", "pod", "web").out)
    said = kybern("why", "pod", "web").stdout
    assert "Scheduled: simulated-" in said and "NodeResourcesFit" in said
    missing = kybern("why", "pod", "nobody")
    assert missing.returncode == 1
    assert 'there is no pod "nobody" in the namespace' in missing.stderr


def test_shells_complete_the_names_of_pods(kybern: Any, current: Kubectl) -> None:
    current.apply(pod("front-end"))
    assert "_KYBERN_COMPLETE" in kybern("completion", "bash").stdout
    words = f"kybern why -n {current.namespace} pod fro"
    completed = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "kybern")],
        capture_output=True,
        text=True,
        env={
            **current.environment,
            "_KYBERN_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": "5",
        },
        timeout=60,
    )
    assert completed.stdout == "plain,front-end\n"


def test_supposing_changes_nothing(
    kybern: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "manifest.json"
    items = [deployment("big-shop", 5), huge("giant")]
    manifest.write_bytes(orjson.dumps({"kind": "List", "items": items}))
    methods: list[str] = []
    pipeline = server.cluster.server._pipeline
    assert pipeline is not None
    handle = pipeline.handle

    async def recording(request: Any) -> Any:
        if request.headers.get("user-agent") == "kubectl":
            methods.append(request.method)
        return await handle(request)

    monkeypatch.setattr(pipeline, "handle", recording)
    answer = kybern("whatif", "-f", str(manifest), "--drain", "simulated-0", "-o", "json")
    outcome = orjson.loads(answer.stdout)
    assert sum(one["owner"] == "Deployment/big-shop" for one in outcome["placed"]) == 5
    assert "simulated-0" not in {one["node"] for one in outcome["placed"]}
    assert "giant" in [one["name"] for one in outcome["pending"]]
    assert len(methods) > 10 and set(methods) == {"GET"}
    assert "Nothing was changed." in kybern("whatif", "-f", str(manifest)).stdout


def test_where_no_scheduler_answers_the_objects_do(
    kybern: Any, current: Kubectl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster with upstream's scheduler."""
    current.apply([huge("big"), pod("web")])
    until(lambda: "Running" in current.ok("get", "pod", "web").out)
    pipeline = server.cluster.server._pipeline
    assert pipeline is not None
    handle = pipeline.handle

    async def without_the_group(request: Any) -> Any:
        request.path = request.path.replace("/explain.kybern.io/", "/explain.example.com/")
        return await handle(request)

    monkeypatch.setattr(pipeline, "handle", without_the_group)
    for name, told in (("big", "No node is large enough"), ("web", "SCORES NOW")):
        said = kybern("why", "pod", name).stdout
        assert told in said
        assert "no scheduler explains it." in said
