"""Counts what every ResourceQuota's namespace uses, and tells it in the quota's status.

Admission charges for what is written; this controller counts all of it again when a quota is new
or its limits change, when something that counted goes away or shrinks, and every five minutes. A
quota may name any resource (``count/NAME.GROUP``): such resources are found by discovery and
watched by their metadata from then on, which the garbage collector does anyway.
"""

from functools import partial
from itertools import chain

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.pod_resources import Amounts, add, amounts
from kybern.api.quantity import Quantity
from kybern.api.quota import concerned_resources, selects, usage
from kybern.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    Resource,
)
from kybern.client import Informer
from kybern.controllers import api_resources
from kybern.controllers.controller import Context, Controller

ZERO = Quantity.parse(0)
# What these use up is in their specs; of all others only the number counts.
MEASURED = (PODS, SERVICES, PERSISTENT_VOLUME_CLAIMS)


class ResourceQuotaController(Controller):
    """Keyed by ResourceQuota."""

    name = "resourcequota-controller"
    account = "resourcequota-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.quotas = self.read(RESOURCE_QUOTAS)
        self.quotas.on_change(self._quota_changed)
        self.counted: dict[Resource, Informer] = {}
        for resource in (*MEASURED, RESOURCE_QUOTAS):
            self._count(resource, self.read(resource))

    def _count(self, resource: Resource, informer: Informer) -> None:
        self.counted[resource] = informer
        informer.on_change(partial(self._changed, resource))

    def _quota_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Charges of admission change only the status, and are no reason to count again."""
        if new is not None and (old is None or _limits(old) != _limits(new)):
            self.queue.add(objects.key(new))

    def _changed(self, resource: Resource, old: Obj | None, new: Obj | None) -> None:
        """What goes or shrinks gives something back; what is new was charged by admission."""
        if old is None:
            return
        quotas = self.quotas.list(objects.namespace(old))
        if not quotas or (new is not None and not self._differs(resource, old, new)):
            return
        for quota in quotas:
            if _concerned(resource, quota):
                self.queue.add(objects.key(quota))

    def _differs(self, resource: Resource, old: Obj, new: Obj) -> bool:
        if resource not in MEASURED:
            return False
        now = self.clock.time()
        before, after = (usage(resource.group, resource.plural, one, now) for one in (old, new))
        return before != after

    async def reconcile(self, key: str) -> float | None:
        quota = self.quotas.get(key)
        if quota is None:
            return None
        hard = amounts(_limits(quota))
        await self._watch_named(list(hard))
        status = objects.status(quota)
        used = {**amounts(status.get("used")), **self._used(quota, list(hard))}
        used = {name: quantity for name, quantity in used.items() if name in hard}
        if (
            "used" not in status
            or amounts(status.get("hard")) != hard
            or amounts(status["used"]) != used
        ):
            wanted = {"hard": _texts(hard), "used": _texts(used)}
            await self.client.update_status(RESOURCE_QUOTAS, {**quota, "status": wanted})
        return self.context.config.resource_quota_sync_period or None

    async def _watch_named(self, names: list[str]) -> None:
        """Watch resources that a quota names and nobody counted before."""
        known = set(
            chain.from_iterable(
                concerned_resources(one.group, one.plural, names) for one in self.counted
            )
        )
        if not known.issuperset(names):
            found, _ = await api_resources.discover(self.client)
            for served in found:
                resource = served.resource
                if (
                    resource not in self.counted
                    and resource.namespaced
                    and {"list", "watch"} <= served.verbs
                    and concerned_resources(resource.group, resource.plural, names)
                ):
                    informers = self.context.informers
                    self._count(resource, informers.informer(resource, metadata_only=True))
            await self.context.informers.start()
        # Another worker may have asked for an informer that is still filling.
        for resource, informer in list(self.counted.items()):
            if concerned_resources(resource.group, resource.plural, names):
                await informer.wait_synced()

    def _used(self, quota: Obj, names: list[str]) -> Amounts:
        total: Amounts = {}
        now = self.clock.time()
        for resource, informer in self.counted.items():
            concerned = concerned_resources(resource.group, resource.plural, names)
            if not concerned:
                continue
            add(total, dict.fromkeys(concerned, ZERO))
            for obj in informer.list(objects.namespace(quota)):
                if selects(quota, resource.plural, obj):
                    used = usage(resource.group, resource.plural, obj, now)
                    add(total, {name: used[name] for name in concerned if name in used})
        return total


def _limits(quota: Obj) -> Obj:
    limits: Obj = objects.spec(quota).get("hard") or {}
    return limits


def _concerned(resource: Resource, quota: Obj) -> bool:
    return bool(concerned_resources(resource.group, resource.plural, list(_limits(quota))))


def _texts(listed: Amounts) -> dict[str, str]:
    return {name: str(quantity) for name, quantity in listed.items()}
