"""What remembering decisions for ``kybern why`` costs the scheduler: CPU per pod.

Run ``python bench/explain.py [nodes ...]``. A burst of pods is decided and placed with and without
it; then the parts alone: a pod whose scores are not kept, and one score table.
"""

import random
import sys
import time

from kybern.component.clock import Clock
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.explain.candidates import rank
from kybern.scheduler.explain.verdicts import Verdicts
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.profile import Profile
from kybern.scheduler.queued_pod import QueuedPod
from scheduler import node, pod

PODS = 2000
TABLES = 200


def decider(nodes: int) -> Decider:
    cluster = ClusterColumns()
    for number in range(nodes):
        cluster.set_node(node(number))
    profile = Profile(ProfileSettings(), cluster)
    return Decider(cluster, profile, Nominations(), random.Random(1))


def burst(nodes: int, verdicts: Verdicts | None) -> float:
    """Microseconds a pod to decide, remember and place."""
    core = decider(nodes)
    queued = [QueuedPod(pod(number), 0.0, number) for number in range(PODS)]
    core.decide(queued[0].pod)
    started = time.process_time()
    for one in queued:
        placement = core.decide(one.pod)
        assert isinstance(placement, Placement)
        if verdicts is not None:
            verdicts.placed(one, placement, core)
        core.cluster.place(one.pod, placement.node)
    return (time.process_time() - started) / PODS * 1e6


def table(nodes: int) -> float:
    """Microseconds for one score table."""
    core = decider(nodes)
    one = pod(0)
    rank(core, one, 0)
    started = time.process_time()
    for _ in range(TABLES):
        rank(core, one, 0)
    return (time.process_time() - started) / TABLES * 1e6


def main(sizes: list[int]) -> None:
    print(f"{'nodes':>6} {'without':>9} {'with':>9} {'table':>9}   us of CPU a pod, a table")
    for nodes in sizes:
        without = min(burst(nodes, None) for _ in range(3))
        remembered = min(burst(nodes, Verdicts(Clock())) for _ in range(3))
        print(f"{nodes:6} {without:9.1f} {remembered:9.1f} {table(nodes):9.1f}")


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [100, 1000, 5000])
