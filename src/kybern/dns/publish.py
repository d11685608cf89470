"""How pods find the server: the Service ``kube-system/kube-dns`` and this node's endpoint in it.

Every node's server is an endpoint with traffic policy Local, so that any service proxy leads a
pod's question to its own node. A cluster whose ``kube-dns`` Service selects pods (CoreDNS) keeps
it: nothing is published there.
"""

import asyncio
import logging

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import ENDPOINT_SLICES, NODES, SERVICES
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.dns.config import Config

logger = logging.getLogger(__name__)

NAMESPACE = "kube-system"
NAME = "kube-dns"
MANAGER = "dns.kybern.io"
_MAX_PAUSE_SECONDS = 30.0


def service(config: Config) -> Obj:
    """The Service as kubeadm's clusters have it, but without a selector."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": NAME,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": config.cluster_dns[0],
            "internalTrafficPolicy": "Local",
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": config.dns_port},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": config.dns_port},
            ],
        },
    }


def endpoint_slice(config: Config, node: Obj, address: str) -> Obj:
    """One node's server; it goes with the Node object."""
    name = node["metadata"]["name"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{NAME}-{name}",
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": NAME,
                "endpointslice.kubernetes.io/managed-by": MANAGER,
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
            ],
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": name, "conditions": {"ready": True}}],
        "ports": [
            {"name": "dns", "port": config.dns_port, "protocol": "UDP"},
            {"name": "dns-tcp", "port": config.dns_port, "protocol": "TCP"},
        ],
    }


async def publish(client: Client, config: Config, node_name: str, address: str) -> None:
    """Bring the Service and this node's slice into being; tries until it has worked."""
    pause = 0.5
    while True:
        try:
            await _publish(client, config, node_name, address)
            return
        except (StatusError, ApiUnreachable, OSError) as error:
            level = logging.DEBUG if pause < 4 else logging.WARNING
            logger.log(level, "the DNS server is not published yet: %s", error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _MAX_PAUSE_SECONDS)


async def _publish(client: Client, config: Config, node_name: str, address: str) -> None:
    node = await client.get(NODES, node_name)
    try:
        published = await client.get(SERVICES, NAME, NAMESPACE)
    except StatusError as error:
        if error.code != 404:
            raise
        published = await _create_service(client, config)
    if published["spec"].get("selector"):
        logger.info("the Service %s/%s selects pods; leaving DNS to them", NAMESPACE, NAME)
        return
    wanted = endpoint_slice(config, node, address)
    try:
        await client.create(ENDPOINT_SLICES, wanted, NAMESPACE)
    except StatusError as error:
        if error.code != 409:
            raise
        current = await client.get(ENDPOINT_SLICES, wanted["metadata"]["name"], NAMESPACE)
        version = current["metadata"]["resourceVersion"]
        wanted["metadata"]["resourceVersion"] = version
        await client.update(ENDPOINT_SLICES, wanted)


async def _create_service(client: Client, config: Config) -> Obj:
    try:
        return await client.create(SERVICES, service(config), NAMESPACE)
    except StatusError as error:
        if error.code != 409:
            raise
    # Another node was faster.
    return await client.get(SERVICES, NAME, NAMESPACE)
