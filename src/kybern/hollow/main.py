"""The simulated nodes as a component.

Called by ``kybern up --simulated-nodes`` and by in-process clusters; works against any Kubernetes
API server. Stopping it leaves the Nodes behind, as stopped kubelets would.
"""

import asyncio
from functools import partial

from kybern.api.errors import Obj
from kybern.api.resources import NODES, PODS
from kybern.client import Client, Informers
from kybern.component.clock import Clock
from kybern.hollow.agenda import Agenda
from kybern.hollow.config import Config
from kybern.hollow.nodes import HollowNode
from kybern.hollow.pod_lives import PodLives
from kybern.hollow.registration import Registration


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Simulate ``config.nodes`` nodes until cancelled."""
    nodes = [HollowNode(index, config) for index in range(config.nodes)]
    by_name = {node.name: node for node in nodes}
    agenda = Agenda(clock)
    informers = Informers(client)
    pods = informers.informer(PODS, field_selector="spec.nodeName!=")
    lives = PodLives(client, clock, config, agenda, by_name, pods)
    informers.informer(NODES).on_change(partial(_node_changed, by_name))
    pods.on_change(lives.pod_changed)
    Registration(client, clock, config, agenda, nodes).start()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(agenda.run(), name="simulated nodes")
            await informers.start()
    finally:
        await informers.stop()


def _node_changed(nodes: dict[str, HollowNode], old: Obj | None, new: Obj | None) -> None:
    """The controller manager gives nodes their pod networks, and declares silent ones dead."""
    if new is not None and (node := nodes.get(new["metadata"]["name"])) is not None:
        node.use_network((new.get("spec") or {}).get("podCIDR", ""))
        conditions = (new.get("status") or {}).get("conditions") or ()
        node.declared_dead = any(one["status"] == "Unknown" for one in conditions)
