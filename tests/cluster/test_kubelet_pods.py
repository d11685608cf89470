"""Pods on a real containerd: start, share, restart, end, and leave nothing behind."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kubelet_lab import STAY, Lab, needs_containerd, open_lab, shell, until

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab() as opened:
        yield opened


async def test_a_pod_becomes_ready_with_an_address(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY)))
    status = await lab.until_ready(pod)
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.77.0.")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIP"] == "10.77.0.1"
    assert status["qosClass"] == "BestEffort"
    assert [c["type"] for c in status["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    container = lab.container(pod)
    assert container["ready"] and container["started"]
    assert container["state"]["running"]["startedAt"]
    assert lab.events.reasons(pod["metadata"]["name"]) == ["Pulled", "Created", "Started"]
    await lab.gone(pod)
    assert lab.status_of(pod) is pod["status"]
