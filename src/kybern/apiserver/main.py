"""``kybern run apiserver``: credentials, the store, the server, HTTPS, and the first objects."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from kybern.apiserver import kubernetes_service
from kybern.apiserver.config import Config
from kybern.apiserver.credentials import Credentials, prepare, write_admin_kubeconfig
from kybern.apiserver.loopback import Loopback
from kybern.apiserver.server import ApiServer
from kybern.apiserver.storage import open_store
from kybern.component import garbage
from kybern.component.clock import Clock
from kybern.component.http.server import serve
from kybern.component.tls import TlsConfig

log = logging.getLogger(__name__)


async def run(config: Config, clock: Clock, ready: asyncio.Event | None = None) -> None:
    """Serve until cancelled; ``ready`` is set when the server answers and has published itself."""
    if not config.data_dir:
        raise ValueError("--data-dir is required")
    credentials = prepare(config, clock)
    config = credentials.config
    store = open_store(config)
    try:
        server = ApiServer(config, store, clock)
        await server.start()
        try:
            async with listening(server, credentials, clock):
                garbage.settle()
                if ready is not None:
                    ready.set()
                await asyncio.Event().wait()
        finally:
            await server.close()
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def listening(
    server: ApiServer, credentials: Credentials, clock: Clock
) -> AsyncIterator[None]:
    """HTTPS for a started server: published as a Service, its kubeconfig written."""
    config = credentials.config
    tls = TlsConfig(config.tls_cert_file, config.tls_private_key_file, True)
    edge = await serve(server.handler, config.bind_address, config.secure_port, tls, clock=clock)
    published = kubernetes_service.published(
        Loopback(server.handler), server.store, config, config.advertise_address, edge.port
    )
    try:
        async with published:
            write_admin_kubeconfig(credentials, edge.port)
            log.info("The API server answers on port %d.", edge.port)
            yield
    finally:
        await edge.close()
