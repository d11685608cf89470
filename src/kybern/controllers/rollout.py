"""The arithmetic of a Deployment's rollout: pure functions over a Deployment and its ReplicaSets.

``deployment.py`` carries out what these compute. Counts are pods; percentages of ``maxSurge`` round
up and those of ``maxUnavailable`` down, as the API documents.
"""

import hashlib
from collections.abc import Iterable, Sequence

import orjson

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.controllers.share import share

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
OWN_ANNOTATIONS = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)
# The letters that Kubernetes allows in generated suffixes: no vowels, so no words.
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def replicas(obj: Obj) -> int:
    return obj["spec"].get("replicas", 1)


def total(sets: Iterable[Obj]) -> int:
    return sum(replicas(one) for one in sets)


def actual(sets: Iterable[Obj], field: str = "replicas") -> int:
    """The sum of a status count."""
    return sum((one.get("status") or {}).get(field, 0) for one in sets)


def template_hash(template: Obj, collisions: int) -> str:
    """A short, stable name for a pod template; ``collisions`` makes it another one."""
    encoded = orjson.dumps([template, collisions], option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.sha256(encoded).digest()[:4], "big")
    return "".join(SAFE_LETTERS[int(digit) % len(SAFE_LETTERS)] for digit in str(number))


def is_rolling(deployment: Obj) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") != "Recreate"


def fenceposts(deployment: Obj) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; never both zero, or nothing could move."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    of = replicas(deployment)
    surge = share(rolling.get("maxSurge", "25%"), of, True)
    unavailable = share(rolling.get("maxUnavailable", "25%"), of, False)
    return surge, unavailable or (0 if surge else 1)


def max_surge(deployment: Obj) -> int:
    return fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Obj) -> int:
    if not is_rolling(deployment) or replicas(deployment) == 0:
        return 0
    return min(fenceposts(deployment)[1], replicas(deployment))


def revision_of(obj: Obj) -> int:
    text = objects.annotations(obj).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def same_template(replica_set: Obj, deployment: Obj) -> bool:
    """Equal pod templates, the hash label aside."""
    return _without_hash(replica_set["spec"]["template"]) == _without_hash(
        deployment["spec"]["template"]
    )


def _without_hash(template: Obj) -> Obj:
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL}
    return {"metadata": {**meta, "labels": labels}, "spec": template.get("spec")}


def find_new(deployment: Obj, sets: Sequence[Obj]) -> Obj | None:
    """The oldest ReplicaSet with the Deployment's template."""
    same = [one for one in sets if same_template(one, deployment)]
    return min(same, key=_age_key, default=None)


def _age_key(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("creationTimestamp") or "", obj["metadata"]["name"]


def oldest_first(sets: Iterable[Obj]) -> list[Obj]:
    return sorted(sets, key=_age_key)


def new_set_size(deployment: Obj, sets: Sequence[Obj], new_size: int) -> int:
    """How large the new ReplicaSet may be now, given what all of them hold."""
    if not is_rolling(deployment):
        return replicas(deployment)
    room = replicas(deployment) + max_surge(deployment) - total(sets)
    if room <= 0:
        return new_size
    return new_size + min(room, replicas(deployment) - new_size)


def is_saturated(deployment: Obj, replica_set: Obj | None) -> bool:
    """The set holds and has available all the pods that the Deployment wants."""
    if replica_set is None:
        return False
    desired = objects.annotations(replica_set).get(DESIRED_REPLICAS)
    return (
        desired == str(replicas(deployment))
        and replicas(replica_set) == replicas(deployment)
        and actual([replica_set], "availableReplicas") == replicas(deployment)
    )


def is_scaled(deployment: Obj, sets: Iterable[Obj]) -> bool:
    """The Deployment's size differs from what an active set was last told."""
    wanted = str(replicas(deployment))
    return any(
        replicas(one) > 0 and objects.annotations(one).get(DESIRED_REPLICAS, wanted) != wanted
        for one in sets
    )


def old_set_sizes(
    deployment: Obj, sets: Sequence[Obj], old: Sequence[Obj], new: Obj
) -> dict[str, int]:
    """New sizes (by name) of old sets that may shrink in this round of a rolling update.

    Unhealthy old pods go first, because they add nothing to availability; then healthy ones, as
    far as ``maxUnavailable`` allows. A set that was just shrunk may still count the pods that are
    about to go: no set has more available pods than its size.
    """
    minimum = replicas(deployment) - max_unavailable(deployment)
    new_unavailable = replicas(new) - actual([new], "availableReplicas")
    budget = total(sets) - minimum - new_unavailable
    sizes: dict[str, int] = {one["metadata"]["name"]: replicas(one) for one in old}
    if budget <= 0:
        return {}
    for one in oldest_first(old):
        name = one["metadata"]["name"]
        unhealthy = sizes[name] - actual([one], "availableReplicas")
        cut = min(budget, max(unhealthy, 0))
        sizes[name] -= cut
        budget -= cut
    available = sum(min(actual([one], "availableReplicas"), replicas(one)) for one in sets)
    spare = min(available - minimum, budget)
    for one in oldest_first(old):
        name = one["metadata"]["name"]
        cut = min(max(spare, 0), sizes[name])
        sizes[name] -= cut
        spare -= cut
    return {
        one["metadata"]["name"]: sizes[one["metadata"]["name"]]
        for one in old
        if sizes[one["metadata"]["name"]] != replicas(one)
    }


def proportional_sizes(deployment: Obj, sets: Sequence[Obj]) -> dict[str, int]:
    """Sizes of the active sets after the Deployment itself was scaled in the middle of a rollout.

    What is added or taken is spread in proportion to the sets' sizes, so that the mix of versions
    stays; the largest set takes the rounding rest.
    """
    active = [one for one in sets if replicas(one) > 0]
    allowed = replicas(deployment) + max_surge(deployment) if replicas(deployment) else 0
    change = allowed - total(active)
    newest_first = sorted(active, key=_age_key, reverse=change > 0)
    ordered = sorted(newest_first, key=lambda one: -replicas(one))
    sizes: dict[str, int] = {}
    added = 0
    for one in ordered:
        part = _proportion(deployment, one, change, added)
        sizes[one["metadata"]["name"]] = replicas(one) + part
        added += part
    if ordered:
        first = ordered[0]["metadata"]["name"]
        sizes[first] = max(sizes[first] + change - added, 0)
    return sizes


def _proportion(deployment: Obj, replica_set: Obj, change: int, added: int) -> int:
    if replicas(replica_set) == 0 or change == 0 or change == added:
        return 0
    size = replicas(deployment) + max_surge(deployment)
    noted = objects.annotations(replica_set).get(MAX_REPLICAS, "")
    previous = int(noted) if noted.isdigit() and int(noted) else size
    part = round(replicas(replica_set) * size / previous) - replicas(replica_set)
    left = change - added
    if replicas(deployment) == 0:
        return -replicas(replica_set)
    return min(part, left) if change > 0 else max(part, left)


def is_complete(deployment: Obj, status: Obj) -> bool:
    """Every wanted pod is updated and available, and no other exists."""
    wanted = replicas(deployment)
    return (
        status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )


def is_progressing(status: Obj, before: Obj) -> bool:
    """More updated, ready or available pods than before, or fewer old ones."""

    def old(counts: Obj) -> int:
        return counts.get("replicas", 0) - counts.get("updatedReplicas", 0)

    return old(status) < old(before) or any(
        status.get(field, 0) > before.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
