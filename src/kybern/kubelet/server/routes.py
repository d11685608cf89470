"""The paths of the node API, each as a function from a request to a response."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import orjson
from prometheus_client import generate_latest

from kybern.api.errors import Obj, StatusError, bad_request, no_such_path
from kybern.component.http.messages import Request, Response
from kybern.kubelet.cri.state import CREATED, RUNNING, ContainerState
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.probes.metrics import PROBES
from kybern.kubelet.server.logs import parse_options, read_log
from kybern.kubelet.server.metrics import resource_metrics
from kybern.kubelet.server.relay import relay
from kybern.kubelet.server.stats import Stats
from kybern.kubelet.status.containers import container_status

JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}

METRICS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

_PULL_FAILURES = ("ErrImagePull", "ImagePullBackOff")

Route = Callable[[Request, list[str]], Awaitable[Response]]


class Routes:
    """Finds and calls the function for a path."""

    def __init__(self, parts: Parts, workers: PodWorkers) -> None:
        self._parts = parts
        self._workers = workers
        self._stats = Stats(parts, workers)
        self._routes: Mapping[str, Route] = {
            "healthz": self._healthz,
            "pods": self._pods,
            "containerLogs": self._container_logs,
            "exec": self._exec,
            "attach": self._attach,
            "portForward": self._port_forward,
            "run": self._run,
            "stats": self._summary,
            "metrics": self._metrics,
        }

    async def handle(self, request: Request) -> Response:
        """Answer an authorized request; raises StatusError."""
        first, *rest = [part for part in request.path.split("/") if part] or [""]
        route = self._routes.get(first)
        if route is None:
            raise no_such_path()
        return await route(request, rest)

    async def _healthz(self, request: Request, rest: list[str]) -> Response:
        return Response(200, dict(TEXT), b"ok")

    async def _pods(self, request: Request, rest: list[str]) -> Response:
        items = [{**pod, "status": self._parts.status.get(pod)} for pod in self._workers.pods()]
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        return Response(200, dict(JSON), orjson.dumps(body))

    async def _container_logs(self, request: Request, rest: list[str]) -> Response:
        pod, container = self._find(rest)
        params = request.params()
        options = parse_options(params, self._parts.clock)
        previous = (params.get("previous") or [""])[-1] in ("true", "1")
        found = await self._logged(pod, container, previous)

        async def still_running() -> bool:
            newest = (await self._parts.reader.pod(spec.uid(pod))).containers
            return any(c.id == found.id and c.state in (RUNNING, CREATED) for c in newest)

        stream = read_log(Path(found.log_path), options, still_running)
        # The first chunk is awaited here, so that a missing file still becomes a status.
        first = await anext(stream, b"")
        return Response(200, dict(TEXT), _with_first(first, stream))

    async def _exec(self, request: Request, rest: list[str]) -> Response:
        _, container_id = await self._running(rest)
        params = request.params()
        command = params.get("command") or []
        if not command:
            raise bad_request("you must specify at least 1 command")
        streams = _streams(params)
        return await relay(
            request, await self._parts.runtime.exec_url(container_id, command, **streams)
        )

    async def _attach(self, request: Request, rest: list[str]) -> Response:
        _, container_id = await self._running(rest)
        streams = _streams(request.params())
        return await relay(request, await self._parts.runtime.attach_url(container_id, **streams))

    async def _port_forward(self, request: Request, rest: list[str]) -> Response:
        pod = self._find_pod(rest)
        state = await self._parts.reader.pod(spec.uid(pod))
        if not state.sandboxes or not state.sandboxes[0].ready:
            raise StatusError(404, "NotFound", f"pod not found ({'/'.join(rest)})")
        return await relay(
            request, await self._parts.runtime.port_forward_url(state.sandboxes[0].id)
        )

    async def _run(self, request: Request, rest: list[str]) -> Response:
        """Run a command without streams; the answer is its output."""
        _, container_id = await self._running(rest)
        command = (request.params().get("cmd") or [""])[0].split(" ")
        _, out, err = await self._parts.runtime.exec_sync(container_id, command, 0)
        return Response(200, dict(TEXT), out + err)

    async def _summary(self, request: Request, rest: list[str]) -> Response:
        if rest[:1] != ["summary"]:
            raise no_such_path()
        return Response(200, dict(JSON), orjson.dumps(await self._stats.summary()))

    async def _metrics(self, request: Request, rest: list[str]) -> Response:
        if rest == ["resource"]:
            text = resource_metrics(await self._stats.sample())
            return Response(200, dict(METRICS), text.encode())
        if rest == ["probes"]:
            return Response(200, dict(METRICS), generate_latest(PROBES))
        if rest in ([], ["cadvisor"]):
            return Response(200, dict(METRICS), generate_latest())
        raise no_such_path()

    # Finding what a path names.

    def _find_pod(self, rest: list[str]) -> Obj:
        """The pod of ``namespace/name`` with an optional UID behind it."""
        if len(rest) < 2:
            raise no_such_path()
        named = [
            pod
            for pod in self._workers.pods()
            if [pod["metadata"]["namespace"], pod["metadata"]["name"]] == rest[:2]
        ]
        if not named:
            raise StatusError(404, "NotFound", f'pod "{rest[1]}" not found')
        # Workers stay in the order in which pods came, and that of a deleted pod may still clean
        # up while the next pod of the same name already runs.
        return named[-1]

    def _find(self, rest: list[str]) -> tuple[Obj, Obj]:
        pod = self._find_pod(rest)
        name = rest[-1] if len(rest) > 2 else ""
        container = spec.find_container(pod, name)
        if container is None:
            where = f'pod "{rest[1]}"'
            raise StatusError(404, "NotFound", f'container "{name}" not found in {where}')
        return pod, container

    async def _running(self, rest: list[str]) -> tuple[Obj, str]:
        """The pod and the id of the running container that a path names."""
        pod, container = self._find(rest)
        latest = (await self._parts.reader.pod(spec.uid(pod))).latest(container["name"])
        if latest is None or latest.state != RUNNING:
            raise StatusError(404, "NotFound", f'container not found ("{container["name"]}")')
        return pod, latest.id

    async def _logged(self, pod: Obj, container: Obj, previous: bool) -> ContainerState:
        """The container whose log is meant: the one the status speaks of, or the one before it."""
        name, pod_name = container["name"], pod["metadata"]["name"]
        status = container_status(self._parts.status.get(pod), name)
        state, last = status.get("state") or {}, status.get("lastState") or {}
        ended = (last.get("terminated") or {}).get("containerID")
        identity = ended
        if not previous and "waiting" not in state:
            identity = status.get("containerID")
        if previous and not identity:
            raise bad_request(
                f'previous terminated container "{name}" in pod "{pod_name}" not found'
            )
        for found in (await self._parts.reader.pod(spec.uid(pod))).containers:
            if identity and identity.endswith(f"//{found.id}") and found.log_path:
                return found
        reason = (state.get("waiting") or {}).get("reason")
        if reason in _PULL_FAILURES:
            raise bad_request(
                f'container "{name}" in pod "{pod_name}" is waiting to start: '
                "trying and failing to pull image"
            )
        if reason:
            raise bad_request(
                f'container "{name}" in pod "{pod_name}" is waiting to start: {reason}'
            )
        raise bad_request(f'container "{name}" in pod "{pod_name}" is not available')


async def _with_first(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


def _streams(params: Mapping[str, list[str]]) -> dict[str, bool]:
    """Which streams the caller wants, by the node API's names or by kubectl's."""

    def wanted(*names: str) -> bool:
        return any((params.get(name) or [""])[-1] in ("1", "true") for name in names)

    tty = wanted("tty")
    return {
        "stdin": wanted("input", "stdin"),
        "stdout": wanted("output", "stdout"),
        # A terminal has one output for both.
        "stderr": wanted("error", "stderr") and not tty,
        "tty": tty,
    }
