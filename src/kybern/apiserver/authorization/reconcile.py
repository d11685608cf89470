"""Bringing the stored bootstrap policy up to date without taking away what people added.

As upstream: missing rules and subjects are added, extra ones are kept, and objects whose
annotation ``rbac.authorization.kubernetes.io/autoupdate`` is ``false`` are left alone. A binding
whose role reference differs is replaced, because that field cannot change.
"""

from kybern.api.errors import Obj
from kybern.api.resources import Resource
from kybern.apiserver.authorization.bootstrap_policy import AUTOUPDATE
from kybern.apiserver.authorization.policy_rules import uncovered
from kybern.apiserver.loopback import Loopback


async def reconcile_role(loopback: Loopback, resource: Resource, wanted: Obj) -> None:
    await loopback.keep(
        resource,
        wanted,
        lambda found: found if _protected(found) else merged_role(found, wanted),
    )


def merged_role(found: Obj, wanted: Obj) -> Obj:
    """The stored role with what the policy has and it lacks."""
    merged = {**found, "metadata": _merged_metadata(found, wanted)}
    rules = found.get("rules") or []
    if wanted.get("aggregationRule"):
        # Its rules are collected by the aggregation controller, so only the selectors are ours.
        held = (found.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        selectors = wanted["aggregationRule"]["clusterRoleSelectors"]
        added = [selector for selector in selectors if selector not in held]
        merged["aggregationRule"] = {"clusterRoleSelectors": [*held, *added]}
        return merged
    missing = uncovered(rules, wanted.get("rules") or [])
    if missing:
        merged["rules"] = [*rules, *missing]
    return merged


async def reconcile_binding(loopback: Loopback, resource: Resource, wanted: Obj) -> None:
    metadata = wanted["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    found = await loopback.get(resource, name, namespace)
    if found is not None and not _protected(found) and found.get("roleRef") != wanted["roleRef"]:
        await loopback.delete(resource, name, namespace)
    await loopback.keep(
        resource,
        wanted,
        lambda found: found if _protected(found) else merged_binding(found, wanted),
    )


def merged_binding(found: Obj, wanted: Obj) -> Obj:
    """The stored binding with the subjects that the policy has and it lacks."""
    merged = {**found, "metadata": _merged_metadata(found, wanted)}
    held = found.get("subjects") or []
    missing = [subject for subject in wanted["subjects"] if subject not in held]
    if missing:
        merged["subjects"] = [*held, *missing]
    return merged


def _protected(found: Obj) -> bool:
    return (found["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false"


def _merged_metadata(found: Obj, wanted: Obj) -> Obj:
    metadata = dict(found["metadata"])
    for field in ("labels", "annotations"):
        added = {**(wanted["metadata"].get(field) or {}), **(metadata.get(field) or {})}
        if added:
            metadata[field] = added
    return metadata
