"""HTTP probes against a small server, and when readiness is asked for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from kubelet_pods import container, pod

from kybern.component.clock import Clock
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.cri.state import RUNNING, ContainerState, RuntimePod
from kybern.kubelet.probes.checks import Checks, Outcome
from kybern.kubelet.probes.manager import READINESS, STARTUP, ProbeManager


async def redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": request.query["to"]}, text="moved")


async def answer(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["status"]), text="hello")


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/redirect", redirect)
    app.router.add_get("/{status}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest_asyncio.fixture
async def checks() -> AsyncIterator[Checks]:
    made = Checks(Runtime("unix:///nowhere"))
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/200", Outcome(True, "hello")),
        ("/500", Outcome(False, "HTTP probe failed with statuscode: 500")),
        ("/redirect?to=/200", Outcome(True, "hello")),
        (
            "/redirect?to=%2Fredirect%3Fto%3D%2F500",
            Outcome(False, "HTTP probe failed with statuscode: 500"),
        ),
        (
            "/redirect?to=http://0.0.0.0/",
            Outcome(True, "Probe terminated redirects, Response body: moved", warning=True),
        ),
        ("/304", Outcome(True, "Probe terminated redirects, Response body: ", warning=True)),
    ],
)
async def test_an_http_probe_goes_where_it_is_sent_on_the_same_host(
    path: str, expected: Outcome, port: int, checks: Checks
) -> None:
    action = {"path": path, "port": port}
    assert await checks.http(action, {}, "127.0.0.1", 5) == expected


async def test_an_http_probe_does_not_go_in_circles(checks: Checks) -> None:
    asked = 0

    async def circle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=307, headers={"Location": f"/{asked}"})

    app = web.Application()
    app.router.add_get("/{any:.*}", circle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    outcome = await checks.http({"path": "/", "port": port}, {}, "127.0.0.1", 5)
    text = f'Get "http://127.0.0.1:{port}/9": stopped after 10 redirects'
    assert (outcome, asked) == (Outcome(False, text), 10)
    await runner.cleanup()


class Answers(Checks):
    """The startup probe passes when told to; the others always do, one with a warning."""

    def __init__(self) -> None:
        super().__init__(Runtime("unix:///nowhere"))
        self.started = False
        self.asked: list[float] = []

    async def check(self, probe: Any, container: Any, container_id: str, pod_ip: str) -> Outcome:
        if "startup" in probe:
            return Outcome(self.started)
        self.asked.append(asyncio.get_running_loop().time())
        return Outcome(True, "look", warning=True)


@pytest.mark.virtual_time
async def test_readiness_is_asked_for_as_soon_as_the_container_has_started() -> None:
    answers = Answers()
    told: list[tuple[str, str]] = []
    manager = ProbeManager(
        answers, Clock(), lambda of, name, type, reason, message: told.append((reason, message))
    )
    main = container(
        startupProbe={"startup": {}, "periodSeconds": 5, "failureThreshold": 100},
        readinessProbe={"periodSeconds": 100},
    )
    running = ContainerState("c0", "s0", "main", 0, RUNNING)
    manager.follow(pod(main), RuntimePod("u1", containers=[running]))
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(32)
    assert not answers.asked
    answers.started = True
    await asyncio.sleep(10)
    assert manager.verdicts == {("c0", STARTUP): True, ("c0", READINESS): True}
    (asked,) = answers.asked
    assert asked - begun == pytest.approx(35, abs=0.1)
    assert ("ProbeWarning", "Readiness probe warning: look") in told
    await manager.close()
