"""The node API's HTTPS server: its certificate, its front door, its life."""

import asyncio

from kybern.api.errors import StatusError
from kybern.client.client import Client
from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response
from kybern.component.http.server import Server, serve
from kybern.kubelet.certificates.serving import serving_files
from kybern.kubelet.config import Config
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.server.auth import NodeAuth
from kybern.kubelet.server.routes import TEXT, Routes
from kybern.rpc.client import RpcError


class NodeServer:
    """Serves one node's API."""

    def __init__(
        self, config: Config, client: Client, clock: Clock, parts: Parts, workers: PodWorkers
    ) -> None:
        self._config = config
        self._clock = clock
        self._facts = parts.facts
        self._routes = Routes(parts, workers)
        self._auth = NodeAuth(
            client, clock, parts.facts.name, config.client_ca_file, config.anonymous_auth
        )
        self._server: Server | None = None

    async def start(self) -> int:
        """Listen; the port."""
        tls = await asyncio.to_thread(serving_files, self._config, self._facts, self._clock)
        self._server = await serve(
            self._handle, self._config.address, self._config.port, tls, clock=self._clock
        )
        return self._server.port

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()

    async def _handle(self, request: Request) -> Response:
        """Answer one request. Refusals are plain text, as upstream's kubelet words them.

        The API server puts that text into the Status that its own caller gets.
        """
        try:
            if request.path != "/healthz":
                await self._auth.check(request)
            return await self._routes.handle(request)
        except StatusError as error:
            return Response(error.code, dict(TEXT), error.message.encode())
        except RpcError as error:
            return Response(500, dict(TEXT), str(error).encode())
