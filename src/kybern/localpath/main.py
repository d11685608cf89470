"""The local-path component (``kybern run local-path``): one node's provisioner."""

import asyncio
import socket
from pathlib import Path

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import NODES
from kybern.client import ApiUnreachable, Client
from kybern.component.clock import Clock
from kybern.localpath.config import Config
from kybern.localpath.places import Places
from kybern.localpath.provisioner import Provisioner
from kybern.localpath.volume import HOSTNAME

_PAUSE_SECONDS = 1.0


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Provision until cancelled."""
    node = config.hostname_override or socket.gethostname().lower()
    path = config.local_path_kubeconfig
    own = Client.from_kubeconfig(path, clock, user_agent=client.user_agent) if path else client
    try:
        hostname = await _hostname(own, node)
        await Provisioner(own, clock, Places(Path(config.local_path_dir)), node, hostname).run()
    finally:
        if own is not client:
            await own.close()


async def _hostname(client: Client, node: str) -> str:
    """Wait for the Node, and read the label that its volumes will be bound to."""
    while True:
        try:
            return objects.labels(await client.get(NODES, node)).get(HOSTNAME, node)
        except (StatusError, ApiUnreachable):
            await asyncio.sleep(_PAUSE_SECONDS)
