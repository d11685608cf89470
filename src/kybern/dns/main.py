"""The DNS component (``kybern run dns``): one server a node, fed by informers.

It listens once it knows the cluster, so that its first answer is a true one: until then clients get
a refused port at once and ask again.
"""

import asyncio
import logging
import socket

from kybern.api.errors import StatusError
from kybern.api.resources import NODES
from kybern.client.client import Client
from kybern.client.informer import Informers
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.dns.config import Config
from kybern.dns.directory import InformerDirectory
from kybern.dns.forward import Forwarder, Upstreams
from kybern.dns.publish import publish
from kybern.dns.resolver import Resolver
from kybern.dns.server import DnsServer
from kybern.dns.zone import Zone

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Answer until cancelled; raises OSError if the port is taken."""
    name = config.hostname_override or socket.gethostname().lower()
    informers = Informers(client)
    directory = InformerDirectory(informers)
    try:
        await informers.start()
        address = next((ip for ip in config.node_ip if ":" not in ip), "")
        address = address or await _node_address(client, name)
        upstreams = Upstreams(
            config.dns_upstream, config.resolv_conf, (*config.cluster_dns, address), clock
        )
        forwarder = Forwarder(upstreams, clock)
        server = DnsServer(
            Resolver(_zone(directory, config), forwarder, clock),
            (config.cluster_cidr, "127.0.0.0/8", address),
        )
        try:
            await server.start(address, config.dns_port)
            logger.info(
                "answering for %s at %s:%d", config.cluster_domain, address, config.dns_port
            )
            await publish(client, config, name, address)
            await asyncio.Event().wait()
        finally:
            await server.close()
            await forwarder.close()
    finally:
        await informers.stop()


def _zone(directory: InformerDirectory, config: Config) -> Zone:
    return Zone(
        directory,
        config.cluster_domain,
        dns_address=config.cluster_dns[0],
        ttl=config.dns_ttl,
        ranges=(config.cluster_cidr, config.service_cluster_ip_range),
    )


async def _node_address(client: Client, name: str) -> str:
    """Wait for the Node object's internal address."""
    while True:
        try:
            node = await client.get(NODES, name)
        except (StatusError, ApiUnreachable):
            node = {}
        for item in (node.get("status") or {}).get("addresses") or []:
            if item.get("type") == "InternalIP" and ":" not in item["address"]:
                return item["address"]
        await asyncio.sleep(_PAUSE_SECONDS)
