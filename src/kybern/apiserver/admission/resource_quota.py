"""ResourceQuota: a write is charged to its namespace's quotas before it is stored, or refused.

The charge is a compare-and-swap on the quota's status, so two writes, on one server or on several,
never pass by the same remainder. Writes that fail afterwards stay charged until the quota
controller counts again, as with upstream. Within one server the writes of a namespace queue up,
which keeps them from colliding with each other.
"""

import asyncio
from zlib import crc32

import orjson

from kybern.api import quota as rules
from kybern.api.errors import OBJECT_MODIFIED, Obj, conflict
from kybern.api.kinds import Kind, Registry
from kybern.api.pod_resources import Amounts, amounts
from kybern.api.resources import RESOURCE_QUOTAS
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.limited_resources import LimitedResources
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.cache import CacheSet
from kybern.apiserver.lookup import Lookup
from kybern.component.clock import Clock
from kybern.store.interface import RevisionMismatch

_TRIES = 16
_LOCKS = 64
# Reviews, bindings and events are never charged.
_IGNORED = frozenset({"events", "bindings", "subjectaccessreviews", "localsubjectaccessreviews"})
_UPDATES_CHARGED = frozenset({"services", "persistentvolumeclaims"})


class ResourceQuota(Plugin):
    name = "ResourceQuota"
    operations = (CREATE, UPDATE)
    subresources = ("", "resize")

    def __init__(
        self,
        configuration: Obj,
        lookup: Lookup,
        clock: Clock,
        caches: CacheSet,
        registry: Registry,
    ) -> None:
        self._limited = LimitedResources(configuration)
        self._lookup = lookup
        self._clock = clock
        self._caches = caches
        self._registry = registry
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]

    async def validate(self, attributes: AdmissionAttributes) -> None:
        namespace = attributes.namespace
        if not namespace or attributes.resource in _IGNORED or not _charged(attributes):
            return
        limited = self._limited.concern(attributes.group, attributes.resource)
        if not limited and not self._lookup.list(RESOURCE_QUOTAS, namespace):
            return
        # A few namespaces share a lock, so that the number of locks is bounded.
        async with self._locks[crc32(namespace.encode()) % _LOCKS]:
            await self._charge(attributes)

    async def _charge(self, attributes: AdmissionAttributes) -> None:
        """Check every quota first, then charge all; a quota that changed is looked at again."""
        pending: set[str] | None = None
        for _ in range(_TRIES):
            charges = [
                (found, used)
                for found in self._lookup.list(RESOURCE_QUOTAS, attributes.namespace)
                if pending is None or found["metadata"]["name"] in pending
                if (used := self._checked(attributes, found)) is not None
            ]
            self._check_limits(attributes)
            if attributes.dry_run:
                return
            pending = set()
            for found, used in charges:
                if not await self._store(found, used):
                    pending.add(found["metadata"]["name"])
            if not pending:
                return
        raise conflict("resourcequotas", min(pending or {""}), OBJECT_MODIFIED)

    def _check_limits(self, attributes: AdmissionAttributes) -> None:
        """Refuse what needs a quota and has none."""
        if self._limited.concern(attributes.group, attributes.resource):
            delta = self._delta(attributes, {})
            quotas = self._lookup.list(RESOURCE_QUOTAS, attributes.namespace)
            self._limited.check(attributes, delta, quotas)

    def _checked(self, attributes: AdmissionAttributes, found: Obj) -> Amounts | None:
        """The quota's use with this write; None if it is not concerned. Raises 403."""
        group, plural, obj = attributes.group, attributes.resource, attributes.object or {}
        status = found.get("status") or {}
        hard, used = amounts(status.get("hard")), amounts(status.get("used"))
        names = rules.concerned_resources(group, plural, list(hard))
        if not names or not rules.selects(found, plural, obj):
            return None
        name = found["metadata"]["name"]
        if (group, plural) == ("", "pods"):
            missing = rules.missing_demands(obj, names)
            if missing:
                raise attributes.forbid(f"failed quota: {name}: {missing}")
        if any(resource not in used for resource in names):
            listed = ",".join(sorted(names))
            raise attributes.forbid(f"status unknown for quota: {name}, resources: {listed}")
        delta = self._delta(attributes, found)
        requested = {key: delta[key] for key in delta if key in hard and delta[key]}
        if not requested:
            return None
        total = {key: used[key] + requested[key] for key in requested}
        exceeded = sorted(key for key in requested if total[key] > hard[key])
        if exceeded:
            raise attributes.forbid(
                f"exceeded quota: {name}, requested: {_listed(requested, exceeded)}, "
                f"used: {_listed(used, exceeded)}, limited: {_listed(hard, exceeded)}"
            )
        return {**used, **total}

    def _delta(self, attributes: AdmissionAttributes, found: Obj) -> Amounts:
        """What the write adds to the use; a decrease is the controller's to notice."""
        group, plural = attributes.group, attributes.resource
        now = self._clock.time()
        delta = rules.usage(group, plural, attributes.object or {}, now)
        old = attributes.old_object
        if attributes.operation == CREATE or old is None or not rules.selects(found, plural, old):
            return delta
        before = rules.usage(group, plural, old, now)
        return {
            key: quantity - before[key] if key in before else quantity
            for key, quantity in delta.items()
            if key not in before or quantity > before[key]
        }

    async def _store(self, found: Obj, used: Amounts) -> bool:
        """Write the new use; False if the quota changed meanwhile."""
        kind = self._kind()
        metadata = found["metadata"]
        changed: Obj = orjson.loads(orjson.dumps(found))
        changed["status"]["used"] = {key: str(used[key]) for key in used}
        key = kind.key(metadata["namespace"], metadata["name"])
        revision = int(metadata["resourceVersion"])
        try:
            await self._caches.cache(kind).update(key, changed, revision)
        except RevisionMismatch:
            return False
        return True

    def _kind(self) -> Kind:
        served = self._registry.lookup("", "v1", "resourcequotas")
        assert served is not None, "quotas are a built-in kind"
        return served.kind


def _charged(attributes: AdmissionAttributes) -> bool:
    """Whether writes of this form can change what is used."""
    if attributes.object is None:
        return False
    if attributes.subresource == "resize":
        return attributes.resource == "pods" and attributes.operation == UPDATE
    if attributes.operation == CREATE:
        return True
    if (attributes.group, attributes.resource) == ("", "pods"):
        old = attributes.old_object
        return old is not None and rules.terminates(old) != rules.terminates(attributes.object)
    return not attributes.group and attributes.resource in _UPDATES_CHARGED


def _listed(values: Amounts, names: list[str]) -> str:
    return ",".join(f"{name}={values[name]}" for name in names)
