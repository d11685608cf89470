"""What the repair of allocations has to tell people: warning events, each once.

A Service that nobody can help but its owner (its address lies outside every range) would be
reported every few minutes otherwise. What was said is remembered in a bounded table.
"""

from kybern.api.errors import Obj
from kybern.api.resources import EVENTS_V1, Resource
from kybern.apiserver.loopback import Loopback
from kybern.component.clock import Clock

_MOST_REMEMBERED = 1024


class Warnings:
    """Writes events as the controller that upstream has for the same."""

    def __init__(self, loopback: Loopback, clock: Clock) -> None:
        self._loopback = loopback
        self._clock = clock
        self._said: set[tuple[str, str]] = set()

    async def say(
        self, about: Obj, resource: Resource, reason: str, action: str, note: str
    ) -> None:
        """Record one event; raises StatusError."""
        metadata = about["metadata"]
        key = (metadata["uid"], note)
        if key in self._said:
            return
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        self._said.add(key)
        namespace = metadata.get("namespace", "")
        regarding = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        if namespace:
            regarding["namespace"] = namespace
        port = action.startswith("Port")
        name = "portallocator-repair-controller" if port else "ipallocator-repair-controller"
        now = int(self._clock.time() * 1e9)
        await self._loopback.create(
            EVENTS_V1,
            {
                "metadata": {
                    "name": f"{metadata['name']}.{now:x}",
                    "namespace": namespace or "default",
                },
                "eventTime": self._clock.micro_timestamp(),
                "reportingController": name,
                "reportingInstance": f"{name}-kybern",
                "type": "Warning",
                "reason": reason,
                "action": action,
                "note": note,
                "regarding": regarding,
            },
        )
