"""Holds all pods together to what the node offers them (``enforceNodeAllocatable: pods``).

The cgroup above all pods is given the machine's memory and CPU without what is reserved. Pods that
are there already may use more than a newly lowered bound: the kernel refuses it until evictions
have made room, so it is tried again every minute.
"""

import asyncio

from kybern.kubelet.bounds import Limits, cpu_shares
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.config import Config
from kybern.kubelet.node.machine import Machine
from kybern.kubelet.parts import NodeFacts, Recorder
from kybern.rpc.client import RpcError

RETRY_SECONDS = 60.0
RUNTIME_SECONDS = 1.0


def bounds_of_all_pods(machine: Machine, config: Config) -> Limits:
    """What the pods may have together; eviction's own margin is left to them."""
    kept = config.reserved() if config.holds_pods else {}
    milli_cpu = machine.cores * 1000 - kept.get("cpu", 0)
    memory = machine.memory_bytes - kept.get("memory", 0) // 1000
    return Limits(cpu_shares(milli_cpu), None, memory)


async def enforce(limits: Limits, cgroups: Cgroups, facts: NodeFacts, recorder: Recorder) -> None:
    """Set the bounds, and return when the kernel holds them."""
    while True:
        try:
            await cgroups.bound_all(limits)
        except RpcError:
            # The runtime has still to say whose cgroups these are; the node's status tells of it.
            await asyncio.sleep(RUNTIME_SECONDS)
            continue
        except OSError as error:
            text = f'Failed to update Node Allocatable Limits "{cgroups.root}": {error}'
            recorder.event(facts.reference, "Warning", "FailedNodeAllocatableEnforcement", text)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        text = "Updated Node Allocatable limit across pods"
        recorder.event(facts.reference, "Normal", "NodeAllocatableEnforced", text)
        return
