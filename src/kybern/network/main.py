"""The proxy component (``kybern run proxy``): what one node does to packets.

Two loops over shared informers: ``node.py`` (settings, CNI, routes) and ``proxy.py`` (Services in
nftables). Acts on the network namespace it runs in. Rules stay when it stops, so that connections
go on while it is away.
"""

import asyncio
import socket

from kybern.client.client import Client
from kybern.client.informer import Informers
from kybern.component.clock import Clock
from kybern.network.config import Config
from kybern.network.nftables.transport import open_nftables
from kybern.network.node import NodeNetwork
from kybern.network.proxy import ServiceProxy


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Serve one node until cancelled; raises OSError where nftables is missing."""
    name = config.hostname_override or socket.gethostname().lower()
    informers = Informers(client)
    proxy = ServiceProxy(informers, open_nftables(), config, name)
    node = NodeNetwork(informers, config, name)
    try:
        await informers.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(node.run(), name="node network")
            tasks.create_task(proxy.run(), name="service proxy")
    finally:
        await informers.stop()
