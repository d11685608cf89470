"""The rolling update of a DaemonSet: which old pods may go now, which nodes may surge.

Pure arithmetic for ``daemonset.py``. Without surge an old pod is deleted first and its successor
created on the next look; with surge the successor comes first and the old pod goes once the new
one is available.
"""

from collections.abc import Callable, Mapping, Sequence

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.controllers import daemon_placement
from kybern.controllers.daemon_placement import Plan

Pair = tuple[Obj | None, Obj | None]


def plan(
    daemon_set: Obj,
    pods_by_node: Mapping[str, Sequence[Obj]],
    desired: int,
    hashed: str,
    now: float,
    should_run: Callable[[str], bool],
) -> Plan:
    """One round of the update over the nodes; ``desired`` is how many should run the daemon."""
    surge, unavailable = daemon_placement.bounds(daemon_set, desired)
    pairs = {node: _new_and_old(daemon_set, pods, hashed) for node, pods in pods_by_node.items()}
    delay = daemon_set["spec"].get("minReadySeconds", 0)

    def available(pod: Obj) -> bool:
        return objects.is_pod_available(pod, delay, now)

    if surge == 0:
        return _replace(pairs, unavailable, available)
    return _surge(pairs, surge, desired, available, should_run)


def _new_and_old(daemon_set: Obj, pods: Sequence[Obj], hashed: str) -> Pair | None:
    """The node's new and old pod; None while it has too many of one sort."""
    living = [pod for pod in pods if not objects.is_deleting(pod)]
    new = [pod for pod in living if daemon_placement.is_updated(daemon_set, pod, hashed)]
    old = [pod for pod in living if not daemon_placement.is_updated(daemon_set, pod, hashed)]
    if len(new) > 1 or len(old) > 1:
        return None
    return (new[0] if new else None), (old[0] if old else None)


def _replace(
    pairs: Mapping[str, Pair | None], limit: int, available: Callable[[Obj], bool]
) -> Plan:
    result = Plan()
    candidates: list[Obj] = []
    unavailable = 0
    for pair in pairs.values():
        new, old = pair or (None, None)
        if pair is None or (new is None) == (old is None):
            # In transition: the pod is going, or its successor is not there yet.
            unavailable += 1
        elif new is not None:
            unavailable += not available(new)
        elif old is not None:
            if available(old):
                candidates.append(old)
            else:
                result.delete.append(old)
                unavailable += 1
    result.delete += candidates[: max(limit - unavailable, 0)]
    return result


def _surge(
    pairs: Mapping[str, Pair | None],
    limit: int,
    desired: int,
    available: Callable[[Obj], bool],
    should_run: Callable[[str], bool],
) -> Plan:
    result = Plan()
    candidates: list[str] = []
    leaving: list[Obj] = []
    surging = serving = 0
    for node, pair in pairs.items():
        if pair is None:
            surging += 1
            continue
        new, old = pair
        one = old or new
        serving += one is not None and available(one)
        if old is None:
            continue
        if new is not None:
            if available(new):
                result.delete.append(old)
            else:
                surging += 1
        elif not should_run(node):
            (leaving if available(old) else result.delete).append(old)
        else:
            (candidates if available(old) else result.create).append(node)
    result.delete += leaving[: max(serving - desired, 0)]
    result.create += candidates[: max(limit - surging, 0)]
    return result
