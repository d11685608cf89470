"""The Service ``kubernetes``: how pods find the API server, kept true to where it listens.

``main.py`` publishes the server's address once it listens. Only one server writes here; several
would share the endpoints through leases.
"""

import ipaddress

from kybern.api.errors import Obj
from kybern.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from kybern.apiserver.config import Config
from kybern.apiserver.loopback import Loopback

_NAME = {"name": "kubernetes", "namespace": "default"}
_PORT = 443
# Endpoints of this object have a slice from this server already; nobody shall mirror them.
_SKIP_MIRROR = {"endpointslice.kubernetes.io/skip-mirror": "true"}


async def publish(loopback: Loopback, config: Config, address: str, port: int) -> None:
    """Make or update the Service, its Endpoints and its EndpointSlice."""
    await _service(loopback, config, port)
    if ipaddress.ip_address(address).is_loopback:
        # Pods cannot reach a loopback address, and validation refuses such endpoints.
        return
    await _endpoints(loopback, address, port)
    await _slice(loopback, address, port)


async def _service(loopback: Loopback, config: Config, port: int) -> None:
    ports = [{"name": "https", "protocol": "TCP", "port": _PORT, "targetPort": port}]
    cidr = config.service_cluster_ip_range.partition(",")[0]
    found = await loopback.ensure(
        SERVICES,
        {
            "metadata": {
                **_NAME,
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "ports": ports,
                "clusterIP": str(next(ipaddress.ip_network(cidr).hosts())),
                "sessionAffinity": "None",
                "type": "ClusterIP",
            },
        },
    )
    if found["spec"].get("ports") != ports:
        await loopback.update(SERVICES, {**found, "spec": {**found["spec"], "ports": ports}})


async def _endpoints(loopback: Loopback, address: str, port: int) -> None:
    subsets = [
        {
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
    ]
    metadata: Obj = {**_NAME, "labels": dict(_SKIP_MIRROR)}
    found = await loopback.ensure(ENDPOINTS, {"metadata": metadata, "subsets": subsets})
    if found.get("subsets") != subsets:
        await loopback.update(ENDPOINTS, {**found, "subsets": subsets})


async def _slice(loopback: Loopback, address: str, port: int) -> None:
    endpoints = [{"addresses": [address], "conditions": {"ready": True}}]
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    family = f"IPv{ipaddress.ip_address(address).version}"
    metadata: Obj = {**_NAME, "labels": {"kubernetes.io/service-name": "kubernetes"}}
    wanted: Obj = {
        "metadata": metadata,
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }
    found = await loopback.ensure(ENDPOINT_SLICES, wanted)
    if found.get("addressType") != family:
        await loopback.delete(ENDPOINT_SLICES, "kubernetes", "default")
        await loopback.ensure(ENDPOINT_SLICES, wanted)
    elif found.get("endpoints") != endpoints or found.get("ports") != ports:
        await loopback.update(ENDPOINT_SLICES, {**found, "endpoints": endpoints, "ports": ports})
