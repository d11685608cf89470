"""Real nodes on this machine: starting, supervising, stopping them, leaving nothing behind.

``up`` and ``down`` are the callers::

    switch = await ensure_switch(data_dir)          # --nodes N > 1: the bridge and its addresses
    node = Node(NodeSpec(name, data_dir, namespaced=True, node_ip=switch.node_ip(0),
                         kubeconfig=path))          # server: https://{switch.gateway}:PORT
    await start(node)       # returns when containerd answers and the agent runs; idempotent
    running(node)           # the supervisor's process id, or None
    await stop(node)        # power off: agent, containerd, containers; files stay
    await clean(data_dir)   # stop every node of the directory, and remove all they left on the
                            # machine, whatever is still alive; idempotent; files stay
    await clean(data_dir, wipe=True)                # and their files

The machine itself as the node: ``NodeSpec(..., namespaced=False, node_ip=its address)``, no switch.
A node's processes are one supervisor (``supervisor.py``) and its children: a private containerd and
the agent, ``kybern run kubelet proxy dns``. In a namespaced node the supervisor is the first
process of a process namespace, so that its end is the end of everything in the node. Files are in
``DIR/nodes/NAME``, the log is ``DIR/logs/node-NAME.log``. The control plane stays outside, in the
machine's own network namespace, and the supervisor gives it the route to the node's pods.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kybern.cluster.nodes.spec import Node, NodeSpec, known_nodes

if TYPE_CHECKING:
    from kybern.cluster.nodes.lifecycle import (
        NodeFailed,
        clean,
        machine_address,
        running,
        start,
        stop,
    )
    from kybern.cluster.nodes.switch import Switch, ensure_switch

__all__ = [
    "Node",
    "NodeFailed",
    "NodeSpec",
    "Switch",
    "clean",
    "ensure_switch",
    "known_nodes",
    "machine_address",
    "running",
    "start",
    "stop",
]


def __getattr__(name: str) -> Any:
    """Import what starts nodes when it is asked for: a supervisor lives long and does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "switch" if name in ("Switch", "ensure_switch") else "lifecycle"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
