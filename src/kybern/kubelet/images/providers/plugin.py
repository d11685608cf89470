"""Runs a credential provider plugin: a request on its input, a response on its output.

A plugin has a minute; then it and what it has started are killed. What it writes is read up to a
limit, and errors never quote its output, which may hold credentials.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.component.duration import parse_duration
from kybern.kubelet.images.credentials import Login
from kybern.kubelet.images.providers.configuration import ProviderConfig
from kybern.kubelet.images.providers.metrics import DURATION, ERRORS

TIMEOUT_SECONDS = 60.0
MAX_OUTPUT = 1 << 20
_KIND = "CredentialProviderResponse"
_FIELDS = {"apiVersion", "kind", "cacheKeyType", "cacheDuration", "auth"}
_LOGIN_FIELDS = {"username", "password"}


class PluginError(Exception):
    """No credentials from this plugin; the text says why."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a plugin answered; without ``cache_seconds`` the configuration's default holds."""

    cache_key_type: str
    cache_seconds: float | None
    logins: Mapping[str, Login]


class Plugin:
    """One program of the node."""

    def __init__(self, config: ProviderConfig, directory: Path, clock: Clock) -> None:
        self._name = config.name
        self._version = config.api_version
        self._command = (str(directory / config.name), *config.args)
        self._env = dict(config.env)
        self._clock = clock

    async def ask(self, image: str, token: str, annotations: Mapping[str, str]) -> Response:
        """What it knows for an image; raises PluginError."""
        request: Obj = {
            "kind": "CredentialProviderRequest",
            "apiVersion": self._version,
            "image": image,
        }
        if token:
            request["serviceAccountToken"] = token
        if annotations:
            request["serviceAccountAnnotations"] = dict(annotations)
        return self._decode(await self._run(orjson.dumps(request) + b"\n", image))

    async def _run(self, request: bytes, image: str) -> bytes:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                code, output, errors = await self._execute(request)
            why = _ended(code)
        except TimeoutError:
            why, errors = "context deadline exceeded", b""
        except OSError as error:
            why, errors = f"fork/exec {self._command[0]}: {error.strerror}", b""
        finally:
            DURATION.labels(self._name).observe(self._clock.monotonic() - started)
        if not why:
            return output
        ERRORS.labels(self._name).inc()
        raise PluginError(
            f"error execing credential provider plugin {self._name} for image {image}: {why}: "
            f"{errors.decode(errors='replace')}"
        )

    async def _execute(self, request: bytes) -> tuple[int, bytes, bytes]:
        """The program's code, and what it wrote to its output and to its errors."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**os.environ, **self._env},
            start_new_session=True,
        )
        assert process.stdin and process.stdout and process.stderr
        try:
            _, output, errors = await asyncio.gather(
                _feed(process.stdin, request), _read(process.stdout), _read(process.stderr)
            )
            return await process.wait(), output, errors
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise

    def _decode(self, output: bytes) -> Response:
        try:
            answer = orjson.loads(output)
        except orjson.JSONDecodeError as error:
            raise PluginError(f"error reading GVK from response: {error.msg}") from None
        version = answer.get("apiVersion", "") if isinstance(answer, dict) else ""
        if version != self._version:
            raise PluginError(
                "apiVersion from credential plugin response did not match expected "
                f"apiVersion:{self._version}, actual apiVersion:{version}"
            )
        try:
            return _response(answer)
        except (AttributeError, TypeError, ValueError):
            raise PluginError(
                "error decoding credential provider plugin response from stdout"
            ) from None


def _response(answer: Obj) -> Response:
    """Raises ValueError, TypeError or AttributeError for what is no response."""
    if answer.get("kind") != _KIND or answer.keys() - _FIELDS:
        raise ValueError
    duration, auth = answer.get("cacheDuration"), answer.get("auth")
    logins = {}
    for place, login in ({} if auth is None else auth).items():
        if login.keys() - _LOGIN_FIELDS:
            raise ValueError
        logins[place] = Login(_text(login.get("username")), _text(login.get("password")))
    seconds = None if duration is None else parse_duration(duration)
    return Response(_text(answer.get("cacheKeyType")), seconds, logins)


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return value


def _ended(code: int) -> str:
    """How a program failed, in Go's words; empty if it did not."""
    if code < 0:
        return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"exit status {code}" if code else ""


async def _feed(stream: asyncio.StreamWriter, content: bytes) -> None:
    """Write all; a program that does not want to read it may still answer."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(content)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _read(stream: asyncio.StreamReader) -> bytes:
    """All that is written, of which the beginning is kept."""
    kept = bytearray()
    while chunk := await stream.read(1 << 16):
        kept += chunk[: MAX_OUTPUT - len(kept)]
    return bytes(kept)
