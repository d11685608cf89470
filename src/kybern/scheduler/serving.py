"""The scheduler's HTTPS port: health, metrics and the configuration in force.

Like upstream's on 10259: health is for everybody, all else for whom the API server allows the path
(``system:monitoring`` has /metrics). Without a certificate the scheduler makes one for the time
that it runs.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS
from kybern.client import ApiUnreachable, Client
from kybern.client.delegation import DelegatedAccess
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response
from kybern.component.http.server import serve
from kybern.component.tls import TlsConfig
from kybern.scheduler.config import Config
from kybern.scheduler.metrics import Metrics

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
METRICS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
JSON = {"Content-Type": "application/json"}
HEALTH = ("healthz", "livez", "readyz")
AUTHENTICATION_CONFIG = "extension-apiserver-authentication"

# A check says what is wrong, or nothing.
Checks = Mapping[str, Callable[[], str]]


class Observed:
    """What the port tells of; ``metrics`` is None while another replica leads."""

    def __init__(self, configuration: Obj) -> None:
        self.configuration = configuration
        self.metrics: Metrics | None = None
        self.is_synced: Callable[[], bool] = lambda: True

    def checks(self, path: str) -> Checks:
        found: dict[str, Callable[[], str]] = {"ping": lambda: ""}
        if path == "readyz":
            found["sched-handler-sync"] = lambda: "" if self.is_synced() else "not synced"
        return found


class Port:
    """Answers requests; ``access`` says who may see more than health."""

    def __init__(self, observed: Observed, access: DelegatedAccess) -> None:
        self._observed = observed
        self._access = access

    async def handle(self, request: Request) -> Response:
        first, _, check = request.path.strip("/").partition("/")
        try:
            if first in HEALTH:
                return _health(first, check, request, self._observed.checks(first))
            await self._check(request)
        except StatusError as error:
            return Response(error.code, dict(TEXT), f"{error.message}\n".encode())
        if request.path == "/metrics":
            metrics = self._observed.metrics
            return Response(200, dict(METRICS), metrics.text() if metrics is not None else b"")
        if request.path == "/configz":
            document = {"kubescheduler.config.k8s.io": self._observed.configuration}
            return Response(200, dict(JSON), orjson.dumps(document))
        return Response(404, dict(TEXT), b"404 page not found\n")

    async def _check(self, request: Request) -> None:
        user = await self._access.authenticate(request)
        verb = {"GET": "get", "HEAD": "get"}.get(request.method, request.method.lower())
        attributes = {"path": request.path, "verb": verb}
        if not await self._access.allows(user, {"nonResourceAttributes": attributes}):
            text = f'forbidden: User "{user.name}" cannot {verb} path "{request.path}"'
            raise StatusError(403, "Forbidden", text)


def _health(path: str, check: str, request: Request, checks: Checks) -> Response:
    """Upstream's form: ``ok``, or what fails; each check with ``?verbose`` or by its own path."""
    if check:
        if check not in checks:
            return Response(404, dict(TEXT), b"404 page not found\n")
        checks = {check: checks[check]}
    problems = {name: ask() for name, ask in checks.items()}
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
        handler = Port(observed, access).handle
        server = await serve(handler, config.bind_address, config.secure_port, tls, clock=clock)
        if tell is not None:
            tell(server.port)
        try:
            yield
        finally:
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
