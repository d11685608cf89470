"""What a pod's end asks of the runtime."""

from types import SimpleNamespace
from typing import Any

from kubelet_pods import container, pod, ran, runtime

from kybern.component.clock import Clock
from kybern.kubelet.cri.state import CREATED
from kybern.kubelet.pods.killing import kill_pod


class _Runtime:
    """Writes down what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def stop_container(self, container_id: str, grace: int) -> None:
        self.calls.append(("stop", container_id))

    async def remove_container(self, container_id: str) -> None:
        self.calls.append(("remove", container_id))

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self.calls.append(("stop", sandbox_id))


async def test_a_container_that_never_started_is_removed_since_it_cannot_be_stopped() -> None:
    asked = _Runtime()
    parts: Any = SimpleNamespace(runtime=asked, clock=Clock(), report=lambda *_: None)
    wanted = pod(container("other"))
    state = runtime(ran(), ran("other", CREATED))
    await kill_pod(wanted, state, parts, 30)
    assert asked.calls == [("stop", "main-0"), ("remove", "other-0"), ("stop", "s0")]
