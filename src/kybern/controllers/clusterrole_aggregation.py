"""Collects the rules of cluster roles that feed an aggregated one, such as ``admin`` or ``view``.

An aggregated role's rules are those of all roles that its selectors match, in the order of their
names, each rule once.
"""

from kybern.api.errors import Obj
from kybern.api.resources import CLUSTER_ROLES
from kybern.api.selectors import LabelSelector
from kybern.controllers.controller import Context, Controller


class ClusterRoleAggregationController(Controller):
    """Keyed by the name of an aggregated role; any change of a role concerns all of them."""

    name = "clusterrole-aggregation-controller"
    account = "clusterrole-aggregation-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.roles = self.watch(CLUSTER_ROLES, self._aggregated)

    def _aggregated(self, changed: Obj) -> tuple[str, ...]:
        names = {role["metadata"]["name"]: None for role in self.roles.list() if _selectors(role)}
        if _selectors(changed):
            names[changed["metadata"]["name"]] = None
        return tuple(names)

    async def reconcile(self, key: str) -> None:
        role = self.roles.get(key)
        if role is None or not _selectors(role):
            return
        rules = collected_rules(role, self.roles.list())
        if rules != (role.get("rules") or []):
            await self.client.update(CLUSTER_ROLES, {**role, "rules": rules})


def collected_rules(role: Obj, roles: list[Obj]) -> list[Obj]:
    """The rules that the aggregated role should have."""
    own = role["metadata"]["name"]
    ordered = sorted(roles, key=lambda found: str(found["metadata"]["name"]))
    rules: list[Obj] = []
    for selector in map(LabelSelector.from_object, _selectors(role)):
        for found in ordered:
            metadata = found["metadata"]
            if metadata["name"] == own or not selector.matches(metadata.get("labels") or {}):
                continue
            rules += [rule for rule in found.get("rules") or [] if rule not in rules]
    return rules


def _selectors(role: Obj) -> list[Obj]:
    return (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
