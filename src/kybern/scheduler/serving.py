"""The scheduler's HTTPS port: health, metrics, the configuration in force, how it was started.

Like upstream's on 10259: health is for everybody, all else for whom the API server allows the path
(``system:monitoring`` has /metrics). Without a certificate the scheduler makes one for the time
that it runs.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import orjson

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS
from kybern.client import ApiUnreachable, Client, LeaderElector
from kybern.client.delegation import DelegatedAccess
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response
from kybern.component.http.server import serve
from kybern.component.metric_families import Family
from kybern.component.status_pages import FlagsPage, StatusPage
from kybern.component.tls import TlsConfig
from kybern.scheduler.config import Config
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.resource_metrics import resource_lines

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
METRICS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
JSON = {"Content-Type": "application/json"}
HEALTH = ("healthz", "livez", "readyz")
AUTHENTICATION_CONFIG = "extension-apiserver-authentication"

# A Lease that has been over for this long without the process ending says that it is stuck.
ELECTION_TOLERANCE_SECONDS = 20.0

# A check says what is wrong, or nothing.
Checks = Mapping[str, Callable[[], str]]
_PING: Checks = {"ping": lambda: ""}
_LISTED = ("/configz", "/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz")


class Schedules(Protocol):
    """What a scheduler shows."""

    metrics: Metrics

    def is_synced(self) -> bool: ...

    def pods(self) -> list[Obj]: ...


class Observed:
    """What the port tells of; ``scheduler`` is None while another replica leads, ``elector`` where
    nobody is elected."""

    def __init__(self, configuration: Obj) -> None:
        self.configuration = configuration
        self.scheduler: Schedules | None = None
        self.elector: LeaderElector | None = None
        self.is_stopping = False

    def checks(self, path: str) -> Checks:
        if path == "livez":
            return _PING
        found: dict[str, Callable[[], str]] = {}
        if self.elector is not None:
            found["leaderElection"] = self._election
        if path == "readyz":
            found["shutdown"] = lambda: "shutting down" if self.is_stopping else ""
            found["sched-handler-sync"] = self._synced
        return found or _PING

    def _election(self) -> str:
        overdue = self.elector is not None and self.elector.overdue() > ELECTION_TOLERANCE_SECONDS
        return "failed election to renew leadership on lease" if overdue else ""

    def _synced(self) -> str:
        scheduler = self.scheduler
        return "" if scheduler is None or scheduler.is_synced() else "not synced"


class Port:
    """Answers requests; ``access`` says who may see more than health."""

    def __init__(
        self, observed: Observed, access: DelegatedAccess, clock: Clock, config: Config
    ) -> None:
        self._observed = observed
        self._access = access
        self._indicators = Indicators()
        self._status = StatusPage("kube-scheduler", clock, _LISTED)
        self._flags = FlagsPage("kube-scheduler", config)

    async def handle(self, request: Request) -> Response:
        first, _, check = request.path.strip("/").partition("/")
        try:
            if first in HEALTH:
                return self._health(first, check, request)
            await self._check(request)
            return self._answer(request)
        except StatusError as error:
            return Response(error.code, dict(TEXT), f"{error.message}\n".encode())

    def _answer(self, request: Request) -> Response:
        scheduler, accept = self._observed.scheduler, request.headers.get("accept", "")
        match request.path:
            case "/metrics":
                body = scheduler.metrics.text() if scheduler is not None else b""
                return Response(200, dict(METRICS), body)
            case "/metrics/resources":
                body = resource_lines(scheduler.pods()) if scheduler is not None else b""
                return Response(200, dict(METRICS), body)
            case "/metrics/slis":
                return Response(200, dict(METRICS), self._indicators.text())
            case "/configz":
                document = {"componentconfig": self._observed.configuration}
                return Response(200, dict(JSON), orjson.dumps(document))
            case "/flagz":
                return self._flags.answer(accept)
            case "/statusz":
                return self._status.answer(accept)
        return Response(404, dict(TEXT), b"404 page not found\n")

    def _health(self, path: str, check: str, request: Request) -> Response:
        """Upstream's form: ``ok``, or what fails; each check with ``?verbose`` or by its path."""
        checks = self._observed.checks(path)
        if check:
            if check not in checks:
                return Response(404, dict(TEXT), b"404 page not found\n")
            checks = {check: checks[check]}
        problems = {name: ask() for name, ask in checks.items()}
        self._indicators.checked(path, problems)
        failed = any(problems.values())
        if not failed and "verbose" not in request.query:
            return Response(200, dict(TEXT), b"ok")
        lines = [
            f"[-]{name} failed: reason withheld" if problem else f"[+]{name} ok"
            for name, problem in problems.items()
        ]
        lines.append(f"{path} check {'failed' if failed else 'passed'}")
        body = "".join(f"{line}\n" for line in lines).encode()
        return Response(500 if failed else 200, dict(TEXT), body)

    async def _check(self, request: Request) -> None:
        user = await self._access.authenticate(request)
        verb = {"GET": "get", "HEAD": "get"}.get(request.method, request.method.lower())
        attributes = {"path": request.path, "verb": verb}
        if not await self._access.allows(user, {"nonResourceAttributes": attributes}):
            text = f'forbidden: User "{user.name}" cannot {verb} path "{request.path}"'
            raise StatusError(403, "Forbidden", text)


class Indicators:
    """``/metrics/slis``: how the checks of health went when somebody asked."""

    def __init__(self) -> None:
        name, text = "kubernetes_healthcheck", "1 where the last check went well."
        self._last = Family(name, "gauge", text, "name", "type")
        name, text = "kubernetes_healthchecks_total", "Checks by how they went."
        self._all = Family(name, "counter", text, "name", "status", "type")

    def checked(self, path: str, problems: Mapping[str, str]) -> None:
        for name, problem in problems.items():
            self._last.values[(name, path)] = 0 if problem else 1
            self._all.add(name, "error" if problem else "success", path)

    def text(self) -> bytes:
        return "\n".join((*self._last.lines(), *self._all.lines(), "")).encode()


@asynccontextmanager
async def serving(
    observed: Observed,
    client: Client,
    clock: Clock,
    config: Config,
    tell: Callable[[int], None] | None = None,
) -> AsyncIterator[None]:
    """Serve for the time of the block; ``tell`` gets the port. Off while the port is 0, unless
    somebody wants to be told which one was free."""
    if not config.secure_port and tell is None:
        yield
        return
    access = DelegatedAccess(client, clock, await _authorities(client), anonymous=True)
    with tempfile.TemporaryDirectory(prefix="kybern-scheduler-") as directory:
        tls = await asyncio.to_thread(_certificate, config, Path(directory), clock)
        handler = Port(observed, access, clock, config).handle
        server = await serve(handler, config.bind_address, config.secure_port, tls, clock=clock)
        if tell is not None:
            tell(server.port)
        try:
            yield
        finally:
            observed.is_stopping = True
            await server.close()


async def _authorities(client: Client) -> bytes:
    """Who signs client certificates, as the API server publishes; nobody where it is away."""
    try:
        found = await client.get(CONFIG_MAPS, AUTHENTICATION_CONFIG, "kube-system")
    except (StatusError, ApiUnreachable, ConnectionError, TimeoutError):
        return b""
    text: str = (found.get("data") or {}).get("client-ca-file", "")
    return text.encode()


def _certificate(config: Config, directory: Path, clock: Clock) -> TlsConfig:
    if config.tls_cert_file:
        return TlsConfig(config.tls_cert_file, config.tls_private_key_file, True)
    host = pki.local_host_name()
    authority = pki.CertificateAuthority.create(f"{host}-ca", clock)
    hosts = [host, "localhost", "127.0.0.1", "::1"]
    authority.issue_server("kube-scheduler", hosts).save(directory, "serving")
    return TlsConfig(str(directory / "serving.crt"), str(directory / "serving.key"), True)
