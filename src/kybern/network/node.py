"""The node's own network: kernel settings, CNI configuration, routes to other nodes' pods.

Follows the Node objects: the pod CIDR of this node and the pod CIDRs and addresses of the others.
What cannot be done now (a neighbour that is not on the link yet) is tried again.
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from kybern.api.errors import Obj
from kybern.api.resources import NODES
from kybern.client.informer import Informers
from kybern.network import cni, routes, sysctls
from kybern.network.config import Config
from kybern.network.endpoints import is_ipv4

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 10
_CHECK_SECONDS = 60


class NodeNetwork:
    """Keeps one node's links to the cluster; ``run`` is its life."""

    def __init__(self, informers: Informers, config: Config, node_name: str) -> None:
        self._config = config
        self._name = node_name
        self._nodes = informers.informer(NODES)
        self._changed = asyncio.Event()
        self._nodes.on_change(self._node_changed)
        self._complaints: tuple[str, ...] = ()

    async def run(self) -> None:
        """Keep up with the Nodes until cancelled; the informers are synced."""
        record = Path(self._config.sysctl_record) if self._config.sysctl_record else None
        for missing in sysctls.apply(sysctls.NODE_SETTINGS, record):
            logger.warning("this kernel has no setting %s; `kybern preflight` says more", missing)
        if not self._config.cni_conf_dir:
            return
        self._changed.set()
        while True:
            self._changed.clear()
            pause = _CHECK_SECONDS if await self._reconcile() else _RETRY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        if _matter(old) != _matter(new):
            self._changed.set()

    async def _reconcile(self) -> bool:
        """One round; false if something is left to be tried again."""
        own = self._nodes.get(self._name)
        uplink = await asyncio.to_thread(routes.uplink)
        own_cidr = routes.pod_cidr(own) if own else ""
        if own_cidr:
            configuration = cni.conflist(
                self._config.cni_network_name, own_cidr, self._config.cni_data_dir, uplink.mtu
            )
            if cni.write(Path(self._config.cni_conf_dir), configuration):
                logger.info("pods of this node get addresses from %s", own_cidr)
        wanted = routes.routes_to_pods(self._nodes.list(), self._name)
        address = first_ipv4(self._config.node_ip) or (routes.node_address(own) if own else "")
        if address and not uplink.exists:
            # A connection to a cluster IP needs a route to somewhere before it is redirected.
            service_range = self._config.service_cluster_ip_range
            wanted.append(routes.Route(service_range, source=address))
        problems = tuple(await asyncio.to_thread(routes.reconcile, wanted))
        if problems != self._complaints:
            for problem in problems:
                logger.warning("%s", problem)
            self._complaints = problems
        return bool(own_cidr) and not problems


def first_ipv4(addresses: Iterable[str]) -> str:
    """The first IPv4 address of a flag, "" if there is none."""
    return next((address for address in addresses if is_ipv4(address)), "")


def _matter(node: Obj | None) -> tuple[str, str]:
    return (routes.pod_cidr(node), routes.node_address(node)) if node else ("", "")
