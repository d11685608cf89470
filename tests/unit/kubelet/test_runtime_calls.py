"""What becomes of a call to the container runtime whose caller no longer wants it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kybern.kubelet.cri.client import Runtime, cri

BEGINNINGS: dict[str, Callable[[Runtime], Awaitable[Any]]] = {
    "RunPodSandbox": lambda runtime: runtime.run_sandbox(cri.PodSandboxConfig()),
    "CreateContainer": lambda runtime: runtime.create_container("s", None, None),
    "StartContainer": lambda runtime: runtime.start_container("c"),
}


@pytest.mark.parametrize("method", BEGINNINGS)
async def test_what_has_begun_to_start_is_not_withdrawn(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime("unix:///nowhere")
    begun, release = asyncio.Event(), asyncio.Event()
    ended = []

    async def call(name: str, request: Any, timeout: float) -> Any:
        begun.set()
        await release.wait()
        ended.append(name)
        return getattr(cri, f"{name}Response")()

    monkeypatch.setattr(runtime._runtime, "call", call)

    async def start() -> None:
        await BEGINNINGS[method](runtime)

    starting = asyncio.create_task(start())
    await begun.wait()
    starting.cancel()
    await asyncio.wait((starting,), timeout=0)
    assert not starting.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert ended == [method]
    await runtime.close()
