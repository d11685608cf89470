"""One probe of one container: exec, HTTP, TCP or gRPC; says whether it passed, and the output."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc.aio
from yarl import URL

from kybern.api.errors import Obj
from kybern.kubelet.cri.client import Runtime
from kybern.rpc.client import RpcError
from kybern.rpc.proto import load

MAX_OUTPUT = 10 * 1024
# After the first request so many more are made.
MAX_REDIRECTS = 9
_REDIRECTS = (301, 302, 303, 307, 308)
_health = load("health.proto")


@dataclass(frozen=True, slots=True)
class Outcome:
    """``passed`` None means that the probe itself could not be made; nothing follows from it.

    A ``warning`` passes, and people should know the output.
    """

    passed: bool | None
    output: str = ""
    warning: bool = False


class Checks:
    """Makes probes; one HTTP session serves all, without keeping connections or cookies."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self, probe: Obj, container: Obj, container_id: str, pod_ip: str) -> Outcome:
        """Probe once; the timeout is the probe's own."""
        timeout = float(probe.get("timeoutSeconds") or 1)
        if command := probe.get("exec"):
            return await self._exec(command.get("command") or [], container_id, timeout)
        if action := probe.get("httpGet"):
            return await self.http(action, container, pod_ip, timeout)
        if action := probe.get("tcpSocket"):
            return await _tcp(
                action.get("host") or pod_ip, port_number(action["port"], container), timeout
            )
        if action := probe.get("grpc"):
            return await _grpc(pod_ip, action["port"], action.get("service") or "", timeout)
        return Outcome(None, "missing probe handler")

    async def _exec(self, command: list[str], container_id: str, timeout: float) -> Outcome:
        try:
            code, out, err = await self._runtime.exec_sync(container_id, command, timeout)
        except RpcError as error:
            if error.code == "DEADLINE_EXCEEDED" or "timed out" in error.message:
                shown = f'command "{" ".join(command)}" timed out'
                return Outcome(False, f"{shown}: {error.message}" if error.message else shown)
            return Outcome(None, str(error))
        return Outcome(code == 0, (out + err)[:MAX_OUTPUT].decode(errors="replace"))

    async def http(self, action: Obj, container: Obj, pod_ip: str, timeout: float) -> Outcome:
        """GET: 200 to 399 pass. Redirects are followed on the same host; others pass, warning."""
        if self._session is None:
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        url = http_url(action, container, pod_ip)
        first = URL(url, encoded=True)
        headers = {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
        headers.setdefault("User-Agent", "kube-probe/1.36")
        headers.setdefault("Accept", "*/*")
        try:
            async with asyncio.timeout(timeout):
                status, body, onward = await self._get(first, headers)
                for _ in range(MAX_REDIRECTS):
                    if onward is None or onward.host != first.host:
                        break
                    url = str(onward)
                    status, body, onward = await self._get(onward, headers)
        except TimeoutError:
            return Outcome(
                False,
                f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting '
                "headers)",
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(False, f'Get "{url}": {_go_dial_error(error, url)}')
        if onward is not None and onward.host == first.host:
            return Outcome(False, f'Get "{url}": stopped after {MAX_REDIRECTS + 1} redirects')
        if 300 <= status < 400:
            return Outcome(True, f"Probe terminated redirects, Response body: {body}", warning=True)
        if 200 <= status < 300:
            return Outcome(True, body)
        return Outcome(False, f"HTTP probe failed with statuscode: {status}")

    async def _get(self, url: URL, headers: Mapping[str, str]) -> tuple[int, str, URL | None]:
        """One GET: the status, the beginning of the body, and where it says to go instead."""
        assert self._session is not None
        async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
            body = (await answer.content.read(MAX_OUTPUT)).decode(errors="replace")
            location = answer.headers.get("Location")
        onward = url.join(URL(location)) if answer.status in _REDIRECTS and location else None
        return answer.status, body, onward


def http_url(action: Obj, container: Obj, pod_ip: str) -> str:
    """The URL of an HTTP probe or hook."""
    host = action.get("host") or pod_ip
    host = f"[{host}]" if ":" in host else host
    path = action.get("path") or "/"
    path = path if path.startswith("/") else f"/{path}"
    scheme = (action.get("scheme") or "HTTP").lower()
    return f"{scheme}://{host}:{port_number(action['port'], container)}{path}"


def port_number(port: int | str, container: Obj) -> int:
    """A port by number or by the name the container gives it; raises ValueError."""
    if isinstance(port, int):
        return port
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return declared["containerPort"]
    return int(port)


async def _tcp(host: str, port: int, timeout: float) -> Outcome:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: {_os_text(error)}")
    writer.close()
    return Outcome(True)


async def _grpc(host: str, port: int, service: str, timeout: float) -> Outcome:
    """The standard health protocol: SERVING passes."""
    address = f"{host}:{port}"
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as link:
        method = _health.services["Health"]["Check"]
        call = link.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            answer: Any = await call(method.request(service=service), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                shown = f'timeout: failed to connect service "{address}" within {timeout:g}s'
                return Outcome(False, shown)
            return Outcome(False, f"error: health rpc failed: {error.details()}")
    if answer.status == _health.SERVING:
        return Outcome(True, "service healthy")
    return Outcome(False, f"service unhealthy (responded with {answer.status})")


def _go_dial_error(error: Exception, url: str) -> str:
    address = url.split("://", 1)[1].split("/", 1)[0]
    if isinstance(error, OSError) and error.errno:
        return f"dial tcp {address}: connect: {_os_text(error)}"
    return str(error) or type(error).__name__


def _os_text(error: OSError) -> str:
    return "connection refused" if error.errno == 111 else (error.strerror or str(error)).lower()
