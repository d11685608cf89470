"""Maintains the FlowSchemas and PriorityLevelConfigurations that every cluster has.

As upstream: what is missing is made again; a mandatory object's spec is put right whatever it is;
a suggested one's only while its annotation ``apf.kubernetes.io/autoupdate-spec`` is true, or while
it says nothing and nobody has changed the spec. Objects that carry the annotation as true but are
none of ours (an older release's) are removed. This happens at start, and within a minute of a
change.
"""

import asyncio
import logging
from collections.abc import Sequence

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS, Resource
from kybern.apiserver.flow_control.bootstrap_objects import (
    AUTOUPDATE,
    MANDATORY_LEVELS,
    MANDATORY_SCHEMAS,
    SUGGESTED_LEVELS,
    SUGGESTED_SCHEMAS,
)
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback

log = logging.getLogger(__name__)

FIELD_MANAGER = "api-priority-and-fairness-config-producer-v1"
PERIOD_SECONDS = 60.0
# What strconv.ParseBool takes.
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_LEVELS, _SCHEMAS = PRIORITY_LEVEL_CONFIGURATIONS, FLOW_SCHEMAS
_OBJECTS: tuple[tuple[Resource, Sequence[Obj], bool], ...] = (
    (_LEVELS, SUGGESTED_LEVELS, False),
    (_SCHEMAS, SUGGESTED_SCHEMAS, False),
    (_LEVELS, MANDATORY_LEVELS, True),
    (_SCHEMAS, MANDATORY_SCHEMAS, True),
)


class Producer:
    """``once`` maintains everything; ``run`` does so after every change until cancelled."""

    def __init__(self, lookup: Lookup, loopback: Loopback) -> None:
        self._lookup = lookup
        self._loopback = loopback
        self._changed = asyncio.Event()

    async def run(self) -> None:
        for resource in (_LEVELS, _SCHEMAS):
            self._lookup.on_change(resource, lambda old, new: self._changed.set())
        self._changed.clear()
        while True:
            await self._changed.wait()
            await asyncio.sleep(PERIOD_SECONDS)
            self._changed.clear()
            try:
                await self.once()
            except StatusError as error:
                log.warning("Maintaining priority and fairness failed for now: %s", error.message)
                self._changed.set()

    async def once(self) -> None:
        """Make, put right and remove; the writes of one sort are committed together."""
        for resource, objects, mandatory in _OBJECTS:
            await asyncio.gather(*(self._ensure(resource, obj, mandatory) for obj in objects))
        for resource in (_SCHEMAS, _LEVELS):
            await self._remove_unknown(resource)

    async def _ensure(self, resource: Resource, wanted: Obj, mandatory: bool) -> None:
        found = self._lookup.get(resource, wanted["metadata"]["name"])
        if found is None:
            await self._loopback.ensure(resource, wanted)
            return
        revised = revision(found, wanted, mandatory=mandatory)
        if revised is None:
            return
        try:
            await self._loopback.update(resource, revised)
        except StatusError as error:
            if error.reason != "Conflict":
                raise

    async def _remove_unknown(self, resource: Resource) -> None:
        known = {
            obj["metadata"]["name"]
            for held, objects, _ in _OBJECTS
            if held == resource
            for obj in objects
        }
        for found in self._lookup.list(resource):
            name = found["metadata"]["name"]
            if name not in known and _annotation(found) is True:
                await self._loopback.delete(resource, name)


def revision(found: Obj, wanted: Obj, *, mandatory: bool) -> Obj | None:
    """The stored object brought up to date; None where it is."""
    annotated = _annotation(found)
    automatic = mandatory or annotated is True
    if annotated is None and found["metadata"].get("generation") == 1:
        automatic = True
    spec = _desired_spec(found, wanted) if automatic else found["spec"]
    if spec == found["spec"] and annotated is automatic:
        return None
    metadata = dict(found["metadata"])
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        AUTOUPDATE: "true" if automatic else "false",
    }
    return {**found, "metadata": metadata, "spec": spec}


def _desired_spec(found: Obj, wanted: Obj) -> Obj:
    """The spec to have; how much the exempt level lends is left to people."""
    if wanted["kind"] != _LEVELS.kind or "exempt" not in wanted["spec"]:
        return dict(wanted["spec"])
    kept = found["spec"].get("exempt")
    return {**wanted["spec"], "exempt": kept} if kept is not None else dict(wanted["spec"])


def _annotation(obj: Obj) -> bool | None:
    """Whether the object wants to be maintained; None if it does not say."""
    value = (obj["metadata"].get("annotations") or {}).get(AUTOUPDATE)
    if value in _TRUE:
        return True
    return False if value in _FALSE else None
