"""One rule of admission, and the chain of all of them.

Mutating plugins (those with an ``admit`` of their own) run in order and may change the object;
validating ones (with a ``validate``) run after the kind's validation. Which plugins a kind of write
concerns is asked once and remembered.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from kybern.apiserver.admission.attributes import AdmissionAttributes
from kybern.component.clock import Clock
from kybern.component.histogram import Histogram

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
# What a write is, for the choice of plugins: operation, group, resource, subresource.
_Kind = tuple[str, str, str, str]


class Plugin:
    """A rule. ``operations`` and ``resources`` ((group, plural) pairs) say which writes concern
    it; None means all. Subresources concern it only if ``subresources`` names them."""

    name: ClassVar[str]
    operations: ClassVar[tuple[str, ...]]
    resources: ClassVar[tuple[tuple[str, str], ...] | None] = None
    subresources: ClassVar[tuple[str, ...] | None] = ("",)

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        return (
            operation in self.operations
            and (self.resources is None or (group, resource) in self.resources)
            and (self.subresources is None or subresource in self.subresources)
        )

    async def admit(self, attributes: AdmissionAttributes) -> None:
        """Change the object or refuse it by raising StatusError."""

    async def validate(self, attributes: AdmissionAttributes) -> None:
        """Refuse the write by raising StatusError; the object is complete and must not change."""


class AdmissionChain:
    """All enabled plugins in order.

    ``timings`` has how long each step took, by operation, whether it was refused, and its type.
    """

    def __init__(self, plugins: Sequence[Plugin], clock: Clock) -> None:
        self._clock = clock
        self.timings: dict[tuple[str, str, str], Histogram] = {}
        self._mutating = [p for p in plugins if type(p).admit is not Plugin.admit]
        self._validating = [p for p in plugins if type(p).validate is not Plugin.validate]
        self._mutating_for: dict[_Kind, list[Plugin]] = {}
        self._validating_for: dict[_Kind, list[Plugin]] = {}

    async def admit(self, attributes: AdmissionAttributes) -> None:
        with self._timed(attributes, "admit"):
            for plugin in _chosen(attributes, self._mutating, self._mutating_for):
                await plugin.admit(attributes)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        with self._timed(attributes, "validate"):
            for plugin in _chosen(attributes, self._validating, self._validating_for):
                await plugin.validate(attributes)

    @contextmanager
    def _timed(self, attributes: AdmissionAttributes, step: str) -> Iterator[None]:
        start = self._clock.monotonic()
        rejected = "true"
        try:
            yield
            rejected = "false"
        finally:
            key = (attributes.operation, rejected, step)
            held = self.timings.get(key)
            if held is None:
                held = self.timings[key] = Histogram(_BUCKETS)
            held.observe(self._clock.monotonic() - start)


def _chosen(
    attributes: AdmissionAttributes, plugins: list[Plugin], known: dict[_Kind, list[Plugin]]
) -> list[Plugin]:
    info = attributes.info
    kind = (attributes.operation, info.group, info.resource, info.subresource)
    found = known.get(kind)
    if found is None:
        found = [plugin for plugin in plugins if plugin.handles(*kind)]
        # Kinds of writes are few; paths of unknown resources never get as far as admission.
        known[kind] = found
    return found
