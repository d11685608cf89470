"""Aggregated roles hold the rules of the roles that feed them."""

import pytest

from kybern.api.resources import CLUSTER_ROLES
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


async def test_the_roles_for_people_fill_up_and_follow() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:

        async def gives(name: str, resource: str) -> bool:
            role = await cluster.client.get(CLUSTER_ROLES, name)
            return any(resource in rule.get("resources", ()) for rule in role.get("rules") or ())

        # view feeds edit, edit feeds admin.
        for name in ("view", "edit", "admin"):
            await cluster.wait_until(lambda name=name: gives(name, "configmaps"))
        label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        rules = [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}]
        mine = {"metadata": {"name": "things", "labels": label}, "rules": rules}
        await cluster.client.create(CLUSTER_ROLES, mine)
        await cluster.wait_until(lambda: gives("admin", "things"))
        await cluster.client.delete(CLUSTER_ROLES, "things")

        async def gone() -> bool:
            return not await gives("admin", "things")

        await cluster.wait_until(gone)
