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

from kybern.cluster.nodes.spec import Node, NodeSpec, known_nodes

__all__ = ["Node", "NodeSpec", "known_nodes"]
