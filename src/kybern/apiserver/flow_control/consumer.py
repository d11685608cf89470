"""Follows the stored FlowSchemas and PriorityLevelConfigurations.

Every change is handed to :class:`FlowControl`, and each FlowSchema is told in its ``Dangling``
condition whether the level that it names exists. Someone who keeps writing other conditions gets
six answers a minute.
"""

import asyncio
import logging
from collections import deque

from kybern.api.errors import Obj, StatusError
from kybern.api.objects import condition
from kybern.api.resources import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS
from kybern.apiserver.flow_control.flow_control import FlowControl
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback

log = logging.getLogger(__name__)

FIELD_MANAGER = "api-priority-and-fairness-config-consumer-v1"
RETRY_SECONDS = 1.0
_MOST_WRITES = 6
_WRITES_SECONDS = 60.0


class Consumer:
    """``once`` takes over what is stored; ``run`` does so after every change until cancelled."""

    def __init__(self, control: FlowControl, lookup: Lookup, loopback: Loopback) -> None:
        self._control = control
        self._lookup = lookup
        self._loopback = loopback
        self._changed = asyncio.Event()
        self._written: dict[str, deque[float]] = {}

    async def run(self) -> None:
        for resource in (PRIORITY_LEVEL_CONFIGURATIONS, FLOW_SCHEMAS):
            self._lookup.on_change(resource, self._on_change)
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.once()
            except StatusError as error:
                log.warning("Writing a FlowSchema's condition failed for now: %s", error.message)
                self._again(RETRY_SECONDS)

    async def once(self) -> None:
        """Configure the server by what is stored, and put the conditions right."""
        levels = self._lookup.list(PRIORITY_LEVEL_CONFIGURATIONS)
        schemas = self._lookup.list(FLOW_SCHEMAS)
        self._control.configure(levels, schemas)
        names = {level["metadata"]["name"] for level in levels}
        self._written = {
            schema["metadata"]["name"]: self._written.get(schema["metadata"]["name"], deque())
            for schema in schemas
        }
        await asyncio.gather(*(self._keep_condition(schema, names) for schema in schemas))

    def _on_change(self, old: Obj | None, new: Obj | None) -> None:
        if (
            old is None
            or new is None
            or old.get("spec") != new.get("spec")
            or old.get("status") != new.get("status")
        ):
            self._changed.set()

    def _again(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._changed.set)

    async def _keep_condition(self, schema: Obj, levels: set[str]) -> None:
        name = schema["metadata"]["name"]
        wanted = dangling(schema, levels)
        found = condition(schema, "Dangling") or {}
        if all(found.get(field) == value for field, value in wanted.items()):
            return
        now = self._control.clock.monotonic()
        written = self._written[name]
        while written and now - written[0] > _WRITES_SECONDS:
            written.popleft()
        if len(written) >= _MOST_WRITES:
            self._again(written[0] + _WRITES_SECONDS - now)
            return
        written.append(now)
        wanted["lastTransitionTime"] = self._control.clock.timestamp()
        applied: Obj = {"metadata": {"name": name}, "status": {"conditions": [wanted]}}
        try:
            await self._loopback.apply(FLOW_SCHEMAS, applied, "status")
        except StatusError as error:
            if error.code != 404:
                raise


def _differ(old: Obj, new: Obj) -> bool:
    return any(old.get(part) != new.get(part) for part in ("spec", "status"))


def dangling(schema: Obj, levels: set[str]) -> Obj:
    """The condition that says whether a FlowSchema's level is among ``levels``."""
    level = schema["spec"]["priorityLevelConfiguration"]["name"]
    text = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    if level in levels:
        return {
            "type": "Dangling",
            "status": "False",
            "reason": "Found",
            "message": f"{text} and it exists",
        }
    return {
        "type": "Dangling",
        "status": "True",
        "reason": "NotFound",
        "message": f"{text} but there is no such object",
    }
