"""The Service ``kubernetes``: how pods find the API servers, kept true to where they listen.

``main.py`` publishes the server's address once it listens. A server with a store to itself does so
once. Where several share one, each keeps a lease on its address (``master_leases.py``), and every
one of them makes the endpoints from the leases that hold, so that one that died drops out.
"""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from kybern.apiserver.config import Config
from kybern.apiserver.loopback import Loopback
from kybern.apiserver.master_leases import MasterLeases
from kybern.store.interface import Store, StoreError

log = logging.getLogger(__name__)

RENEWAL_SECONDS = 10.0

_NAME = {"name": "kubernetes", "namespace": "default"}
_PORT = 443
# Endpoints of this object have a slice from this server already; nobody shall mirror them.
_SKIP_MIRROR = {"endpointslice.kubernetes.io/skip-mirror": "true"}


@asynccontextmanager
async def published(
    loopback: Loopback, store: Store, config: Config, address: str, port: int
) -> AsyncIterator[None]:
    """Pods find this server as long as the block runs, and where nothing else is known, after."""
    await _service(loopback, config, port)
    if ipaddress.ip_address(address).is_loopback:
        # Pods cannot reach a loopback address, and validation refuses such endpoints.
        yield
    elif not store.shared:
        await _publish(loopback, [address], port)
        yield
    else:
        leases = MasterLeases(store)
        await leases.renew(address)
        await _publish(loopback, await leases.addresses(), port)
        renewal = asyncio.create_task(_renew(loopback, leases, address, port))
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await _withdraw(loopback, leases, address, port)


async def _renew(loopback: Loopback, leases: MasterLeases, address: str, port: int) -> None:
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        try:
            await leases.renew(address)
            await _publish(loopback, await leases.addresses(), port)
        except (StatusError, StoreError) as error:
            log.warning("This server's address cannot be published, to be tried again: %s", error)


async def _withdraw(loopback: Loopback, leases: MasterLeases, address: str, port: int) -> None:
    """Leave the endpoints to the others. The last server stays: better an old address than none."""
    try:
        await leases.give_up(address)
        left = await leases.addresses()
        if left:
            await _publish(loopback, left, port)
    except (StatusError, StoreError) as error:
        log.warning("This server's address stays published until its lease ends: %s", error)


async def _publish(loopback: Loopback, addresses: Sequence[str], port: int) -> None:
    """Make the Endpoints and the EndpointSlice say where the servers are."""
    if not addresses:
        return
    await _endpoints(loopback, addresses, port)
    await _slice(loopback, addresses, port)


async def _service(loopback: Loopback, config: Config, port: int) -> None:
    ports = [{"name": "https", "protocol": "TCP", "port": _PORT, "targetPort": port}]
    cidr = config.service_cluster_ip_range.partition(",")[0]
    service: Obj = {
        "metadata": {**_NAME, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "ports": ports,
            "clusterIP": str(next(ipaddress.ip_network(cidr).hosts())),
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
    }

    def with_ports(found: Obj) -> Obj:
        return {**found, "spec": {**found["spec"], "ports": ports}}

    await loopback.keep(SERVICES, service, with_ports)


async def _endpoints(loopback: Loopback, addresses: Sequence[str], port: int) -> None:
    wanted: Obj = {
        "metadata": {**_NAME, "labels": dict(_SKIP_MIRROR)},
        "subsets": [
            {
                "addresses": [{"ip": address} for address in addresses],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }
        ],
    }
    await loopback.keep(ENDPOINTS, wanted, lambda found: {**found, "subsets": wanted["subsets"]})


async def _slice(loopback: Loopback, addresses: Sequence[str], port: int) -> None:
    wanted: Obj = {
        "metadata": {**_NAME, "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": f"IPv{ipaddress.ip_address(addresses[0]).version}",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}} for address in addresses
        ],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    found = await loopback.get(ENDPOINT_SLICES, _NAME["name"], _NAME["namespace"])
    if found is not None and found.get("addressType") != wanted["addressType"]:
        # That field cannot change.
        await loopback.delete(ENDPOINT_SLICES, _NAME["name"], _NAME["namespace"])
    await loopback.keep(
        ENDPOINT_SLICES,
        wanted,
        lambda found: {**found, "endpoints": wanted["endpoints"], "ports": wanted["ports"]},
    )
