"""A small registry for tests that pull: it speaks the part of the protocol that pulling needs."""

import asyncio
import base64
import contextlib
import io
import json
import socket
import tarfile
from collections.abc import AsyncIterator

from aiohttp import web

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """Serves one image under every name; names that begin with ``private`` want a password.

    Pulls of names that begin with ``held`` wait until they are let go, one by one.
    """

    def __init__(self, image: bytes) -> None:
        self.paths: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.most_held = 0
        self._blobs: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(image)) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                self._blobs[member.name.rpartition("/")[2]] = content.read()
        self._manifest = json.loads(self._blobs["index.json"])["manifests"][0]["digest"]

    async def answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        wanted = "Basic " + base64.b64encode(b"user:pass").decode()
        if "/private" in request.path and request.headers.get("Authorization") != wanted:
            challenge = {"WWW-Authenticate": 'Basic realm="lab"'}
            return web.Response(status=401, headers=challenge)
        _, _, rest = request.path.partition("/v2/")
        if not rest:
            return web.Response()
        name = rest.rpartition("/")[2]
        if rest.startswith("held"):
            await self._hold(rest.partition("/manifests/")[0])
        if "/manifests/" in rest:
            headers = {"Docker-Content-Digest": self._manifest, "Content-Type": _MANIFEST}
            return web.Response(body=self._blobs[self._manifest.partition(":")[2]], headers=headers)
        return web.Response(body=self._blobs[name.partition(":")[2]])

    async def _hold(self, name: str) -> None:
        if "/blobs/" in name:
            return
        go = self.held.setdefault(name, asyncio.Event())
        self.most_held = max(self.most_held, len(self.holding()))
        await go.wait()

    def holding(self) -> list[str]:
        """The names whose pulls wait here."""
        return [name for name, go in self.held.items() if not go.is_set()]

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Answer on a socket that the caller has bound."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield
        finally:
            await runner.cleanup()
