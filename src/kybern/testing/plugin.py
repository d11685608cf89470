"""The pytest plugin: fixtures for clusters, and virtual time by a marker.

``kybern_cluster`` (async tests)
    A fresh cluster with one hollow node in the test's own loop. Its parameters are those of
    :class:`kybern.testing.Cluster`, given as ``@pytest.mark.kybern(nodes=3, scheduler=False)``.
``kybern_server`` (any test)
    A cluster in a thread of its own, on real time, with a port: ``kybern_server.kubeconfig`` is a
    path for kubectl and the clients that users write their code with.
``@pytest.mark.virtual_time`` (async tests under pytest-asyncio)
    Runs the test on a loop whose clock jumps; add ``autojump=False`` to move it by ``advance()``.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kybern.testing.cluster import Cluster

try:
    import pytest_asyncio
except ImportError:
    pytest_asyncio = None  # type: ignore[assignment]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kybern(**options): options of the cluster fixtures")
    config.addinivalue_line("markers", "virtual_time(autojump=True): run on virtual time")


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that a test runs on: virtual where its marker says so."""
    marker = item.get_closest_marker("virtual_time")
    if marker is None:
        return {"asyncio": asyncio.new_event_loop}
    from kybern.testing.virtual_time import VirtualTimeLoop

    autojump = marker.kwargs.get("autojump", True)
    return {"virtual": lambda: VirtualTimeLoop(autojump)}


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    marker = request.node.get_closest_marker("kybern")
    return dict(marker.kwargs) if marker is not None else {}


if pytest_asyncio is not None:

    @pytest_asyncio.fixture
    async def kybern_cluster(request: pytest.FixtureRequest) -> "AsyncIterator[Cluster]":
        """A fresh cluster in the test's loop."""
        from kybern.testing.cluster import Cluster

        async with Cluster(**_options(request)) as cluster:
            yield cluster


class Server:
    """A cluster that runs in a thread; for tests and clients that know nothing of asyncio."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = {"serve": True, **options}
        self._started: Future[Cluster] = Future()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="kybern", daemon=True)

    def _run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        from kybern.testing.cluster import Cluster

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with Cluster(**self._options) as cluster:
                self._started.set_result(cluster)
                await self._stop.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    def start(self) -> "Server":
        self._thread.start()
        self.cluster = self._started.result(timeout=60)
        return self

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.cluster.kubeconfig

    def call(self, coroutine: Any, timeout: float = 60) -> Any:
        """Run a coroutine, such as a method of ``cluster``, in the cluster's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=60)


@pytest.fixture
def kybern_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A cluster with a port, in a thread of its own."""
    server = Server(_options(request)).start()
    try:
        yield server
    finally:
        server.stop()
