"""Flags of the simulated nodes."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass
class Config:
    """How many nodes, what they offer, and how fast their pods live."""

    nodes: int = flag(1, "Number of simulated nodes.", name="simulated-nodes")
    node_prefix: str = flag("simulated-", "Node names are this prefix and a number.")
    node_cpu: str = flag("8", "CPU that each simulated node offers.")
    node_memory: str = flag("32Gi", "Memory that each simulated node offers.")
    node_pods: int = flag(110, "Pods that each simulated node takes.")
    node_zones: int = flag(0, "Spread the nodes over this many zones (0: no zone label).")
    node_labels: tuple[str, ...] = flag((), "Labels of every simulated node, key=value.")
    creating_seconds: float = flag(0.0, "How long a pod stays in ContainerCreating.")
    ready_seconds: float = flag(0.0, "How long a running pod takes to become ready.")
    job_seconds: float = flag(1.0, "How long a Job's pod runs before it succeeds.")
    termination_seconds: float = flag(0.0, "How long a pod takes to stop, within its grace period.")
    jitter: float = flag(0.0, "Lengthen each of these by up to this share, at random.")
    lease_renew_seconds: float = flag(10.0, "How often a node renews its Lease.")
    status_report_seconds: float = flag(300.0, "How often a node reports unchanged status.")
