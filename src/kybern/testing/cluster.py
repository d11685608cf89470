"""A whole cluster in this process: API server, controllers, scheduler and hollow nodes.

The same door serves users' tests and Kybern's own::

    async with Cluster(nodes=3) as cluster:
        await cluster.apply(manifest)
        await cluster.wait_for(PODS, "web-0", is_pod_ready)

The store is in memory and clients call the API server without sockets, so it is ready in well
under a second. With ``serve=True`` it also listens on a free port and leaves a kubeconfig
(``cluster.kubeconfig``) for kubectl and other clients from outside. On a
:class:`~kybern.testing.virtual_time.VirtualTimeLoop` the cluster lives on virtual time.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import NODES, SERVICE_ACCOUNTS, Resource
from kybern.api.user import ADMIN, AUTHENTICATED_GROUP, UserInfo
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.apiserver.credentials import prepare
from kybern.apiserver.main import listening
from kybern.apiserver.server import ApiServer
from kybern.client import Client, Informers
from kybern.component.clock import Clock
from kybern.controllers import main as controllers
from kybern.controllers.config import Config as ControllersConfig
from kybern.hollow import main as hollow
from kybern.hollow.config import Config as HollowConfig
from kybern.scheduler import main as scheduler
from kybern.scheduler.config import Config as SchedulerConfig
from kybern.store.memory import MemoryStore
from kybern.testing.patience import PATIENCE
from kybern.testing.virtual_time import VirtualClock, VirtualTimeLoop

PATIENCE_SECONDS = 60.0 * PATIENCE
FIRST_PAUSE_SECONDS = 0.01
MAX_PAUSE_SECONDS = 0.05
# On virtual time a pause costs nothing, but asking does.
MAX_VIRTUAL_PAUSE_SECONDS = 1.0


class Cluster:
    """An in-process cluster; ``client`` speaks as the administrator.

    ``kubeconfig`` exists with ``serve=True`` only.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        seed: int | None = None,
        controllers: bool = True,
        scheduler: bool = True,
        hollow: HollowConfig | None = None,
        api_server: ApiServerConfig | None = None,
        serve: bool = False,
    ) -> None:
        self._seed = seed
        self._serve = serve
        self._with_controllers = controllers
        self._with_scheduler = scheduler
        self._api_server = api_server or ApiServerConfig()
        self._hollow = hollow or HollowConfig()
        self._hollow.nodes = nodes
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: list[Client] = []
        self._stack = contextlib.AsyncExitStack()
        self.clock: Clock
        self.client: Client
        self.kubeconfig: Path

    async def __aenter__(self) -> Self:
        virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        self.clock = VirtualClock(self._seed or 0) if virtual else Clock(self._seed)
        self.store = MemoryStore()
        try:
            await self._start_server()
            self.client = self.client_as(ADMIN)
            self._start_components()
            await self._until_ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def _start_server(self) -> None:
        """In process; with ``serve`` also on a free port, its files in a temporary directory."""
        config = replace(self._api_server)
        credentials = None
        if self._serve:
            directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kybern-"))
            config.data_dir, config.bind_address, config.secure_port = directory, "127.0.0.1", 0
            config.advertise_address = "127.0.0.1"
            credentials = prepare(config, self.clock)
            config = credentials.config
            self.kubeconfig = Path(directory) / "kubeconfig"
        self.server = ApiServer(config, self.store, self.clock)
        await self.server.start()
        self._stack.push_async_callback(self.server.close)
        if credentials is not None:
            await self._stack.enter_async_context(listening(self.server, credentials, self.clock))

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def client_as(self, user: UserInfo, user_agent: str = "kybern-testing") -> Client:
        """A client with another identity."""
        client = Client.in_process(self.server.handler, user, self.clock, user_agent)
        self._clients.append(client)
        return client

    def _component(self, user: str, agent: str, *groups: str) -> Client:
        return self.client_as(UserInfo(user, (*groups, AUTHENTICATED_GROUP)), agent)

    def _start_components(self) -> None:
        if self._with_controllers:
            client = self._component("system:kube-controller-manager", "kube-controller-manager")
            config = ControllersConfig(leader_elect=False)
            self._start(controllers.run(client, self.clock, config), "controller-manager")
        if self._with_scheduler:
            client = self._component("system:kube-scheduler", "kube-scheduler")
            config_ = SchedulerConfig(leader_elect=False)
            self._start(scheduler.run(client, self.clock, config_), "scheduler")
        if self._hollow.nodes:
            client = self._component("system:hollow-nodes", "kubelet", "system:masters")
            self._start(hollow.run(client, self.clock, self._hollow), "hollow nodes")

    def _start(self, run: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(run, name=name))

    async def _until_ready(self) -> None:
        if self._hollow.nodes and self._with_controllers:
            await self._until_nodes_ready()
        if self._with_controllers:
            await self.wait_for(SERVICE_ACCOUNTS, "default", namespace="default")

    async def _until_nodes_ready(self) -> None:
        """Follow the nodes with a watch: listing thousands again and again would take longer
        than making them."""
        informers = Informers(self.client)
        nodes = informers.informer(NODES)

        async def are_ready() -> bool:
            return sum(map(_is_ready, nodes.list())) >= self._hollow.nodes

        try:
            await informers.start()
            await self.wait_until(are_ready)
        finally:
            await informers.stop()

    async def wait_for(
        self,
        resource: Resource,
        name: str,
        condition: Callable[[Obj], Any] = bool,
        *,
        namespace: str = "default",
        patience: float = PATIENCE_SECONDS,
    ) -> Obj:
        """The object, once it exists and ``condition(obj)`` holds; raises TimeoutError."""
        where = namespace if resource.namespaced else None
        last: list[Obj] = []

        async def holds() -> bool:
            try:
                last[:] = [await self.client.get(resource, name, where)]
            except StatusError as error:
                if error.code != 404:
                    raise
                last.clear()
                return False
            return bool(condition(last[0]))

        try:
            await self.wait_until(holds, patience=patience)
        except TimeoutError:
            seen = last[0].get("status") if last else "it does not exist"
            raise TimeoutError(f"{resource.qualified} {name}: {seen}") from None
        return last[0]

    async def wait_gone(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "default",
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Return once the object does not exist; raises TimeoutError."""
        where = namespace if resource.namespaced else None

        async def gone() -> bool:
            try:
                await self.client.get(resource, name, where)
            except StatusError as error:
                return error.code == 404
            return False

        await self.wait_until(gone, patience=patience)

    async def wait_until(self, condition: Any, *, patience: float = PATIENCE_SECONDS) -> None:
        """Ask ``await condition()`` again and again; a component that dies is raised at once."""
        virtual = isinstance(self.clock, VirtualClock)
        longest = MAX_VIRTUAL_PAUSE_SECONDS if virtual else MAX_PAUSE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        async with asyncio.timeout(patience):
            while not await condition():
                for task in self._tasks:
                    if task.done():
                        task.result()
                        raise RuntimeError(f"{task.get_name()} ended by itself")
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, longest)

    async def close(self) -> None:
        """Stop everything, last started first."""
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        failures = [t.exception() for t in self._tasks if not t.cancelled() and t.exception()]
        self._tasks.clear()
        for client in self._clients:
            await client.close()
        await self._stack.aclose()
        for failure in failures:
            if failure is not None:
                raise failure


def _is_ready(node: Obj) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not node["spec"].get("taints")
