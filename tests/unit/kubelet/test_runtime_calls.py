"""Calls to the container runtime: whose caller no longer wants them, and what is not answered."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kybern.kubelet.cri.client import Runtime, cri
from kybern.rpc.client import RpcError

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


@pytest.mark.parametrize(
    ("answer", "driver"),
    [
        ({"linux": {"cgroup_driver": cri.SYSTEMD}}, "systemd"),
        ({"linux": {"cgroup_driver": cri.CGROUPFS}}, "cgroupfs"),
        ({}, ""),
        (RpcError("UNIMPLEMENTED", "unknown method RuntimeConfig"), ""),
    ],
)
async def test_a_runtime_tells_its_cgroup_driver_or_does_not(
    answer: Any, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await driver_told(answer, monkeypatch) == driver


async def test_a_driver_that_nobody_knows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RpcError, match="runtime returned an unknown cgroup driver 7"):
        await driver_told({"linux": {"cgroup_driver": 7}}, monkeypatch)
    with pytest.raises(RpcError, match="down"):
        await driver_told(RpcError("UNAVAILABLE", "down"), monkeypatch)


async def driver_told(answer: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    runtime = Runtime("unix:///nowhere")

    async def call(name: str, request: Any, timeout: float) -> Any:
        if isinstance(answer, RpcError):
            raise answer
        return cri.RuntimeConfigResponse(**answer)

    monkeypatch.setattr(runtime._runtime, "call", call)
    try:
        return await runtime.cgroup_driver()
    finally:
        await runtime.close()
