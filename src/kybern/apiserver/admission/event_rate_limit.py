"""EventRateLimit: a flood of events gets 429 instead of the store.

Each limit of the configuration is a set of token buckets: one for the server, or one for each
namespace, user, or pair of source and object. The least recently used bucket makes room when a
limit has as many as it may keep.
"""

from collections import OrderedDict
from collections.abc import Callable

from kybern.api.errors import Obj, StatusError
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.component.clock import Clock
from kybern.component.flags import BadFlag

_DEFAULT_CACHE_SIZE = 4096


class EventRateLimit(Plugin):
    """``configuration`` is upstream's, of eventratelimit.admission.k8s.io."""

    name = "EventRateLimit"
    operations = (CREATE, UPDATE)
    resources = (("", "events"),)

    def __init__(self, configuration: Obj, clock: Clock) -> None:
        limits = configuration.get("limits") or []
        if not limits:
            raise BadFlag("limits: Invalid value: []: must not be empty")
        self._limits = [_Limit(index, limit, clock) for index, limit in enumerate(limits)]

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.dry_run:
            return
        reached = [why for limit in self._limits if (why := limit.refusal(attributes))]
        if reached:
            text = reached[0] if len(reached) == 1 else f"[{', '.join(reached)}]"
            raise StatusError(429, "TooManyRequests", f"Too many requests: {text}")


class _Limit:
    """One limit: how fast its buckets fill, how much they hold, and which bucket a write takes."""

    def __init__(self, index: int, limit: Obj, clock: Clock) -> None:
        self.type: str = limit.get("type", "")
        if self.type not in _KEYS:
            kinds = ", ".join(f'"{name}"' for name in _KEYS)
            raise BadFlag(
                f'limits[{index}].type: Unsupported value: "{self.type}": supported values: {kinds}'
            )
        for name in ("burst", "qps"):
            if limit.get(name, 0) <= 0:
                value = limit.get(name, 0)
                raise BadFlag(f"limits[{index}].{name}: Invalid value: {value}: must be positive")
        self._qps: int = limit["qps"]
        self._burst: int = limit["burst"]
        self._size: int = limit.get("cacheSize") or _DEFAULT_CACHE_SIZE
        self._clock = clock
        # Tokens left, and when they were counted.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def refusal(self, attributes: AdmissionAttributes) -> str:
        """Take one token; the reason if there is none, else an empty string."""
        key = _KEYS[self.type](attributes)
        now = self._clock.monotonic()
        tokens, counted = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - counted) * self._qps)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return "" if allowed else f"limit reached on type {self.type} for key {key}"


def _source_and_object(attributes: AdmissionAttributes) -> str:
    event = attributes.object or {}
    source, involved = event.get("source") or {}, event.get("involvedObject") or {}
    parts = [source.get("component"), source.get("host")]
    parts += [involved.get(name) for name in ("kind", "namespace", "name", "uid", "apiVersion")]
    return "".join(part or "" for part in parts)


_KEYS: dict[str, Callable[[AdmissionAttributes], str]] = {
    "Server": lambda attributes: "",
    "Namespace": lambda attributes: attributes.namespace,
    "User": lambda attributes: attributes.user.name,
    "SourceAndObject": _source_and_object,
}
