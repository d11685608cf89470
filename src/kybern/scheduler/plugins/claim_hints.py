"""What the plugins for volumes want to hear of claims and of pods that share them."""

from typing import Any

from kybern.scheduler.events import Hint, queue_if
from kybern.scheduler.pod_storage import claim_names

Obj = dict[str, Any]


def claim_is_its(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """The claim is one of the pod's."""
    if new is None or new["metadata"]["namespace"] != pod["metadata"]["namespace"]:
        return Hint.SKIP
    return queue_if(new["metadata"]["name"] in claim_names(pod))


def shares_a_claim(pod: Obj, other: Obj) -> bool:
    """Two pods of a namespace name the same claim."""
    return not set(claim_names(pod)).isdisjoint(claim_names(other))
