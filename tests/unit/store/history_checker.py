"""A checker of recorded histories: did the store behave as one copy that changes step by step?

Clients record what they asked and what they were told. Every successful write has a unique
revision, so the writes, sorted by revision, are the only order in which they can have happened;
replaying them on a plain dict must explain every answer, each within the time of its call.
"""

import asyncio
import random
from dataclasses import dataclass, field

from kybern.store.interface import Change, Entry, Page, RevisionMismatch, Store


@dataclass
class Operation:
    """One call, between the numbers that the recorder gave to its start and its end."""

    name: str
    key: str
    guard: int
    value: bytes
    started: int
    started_at_revision: int
    ended: int = 0
    outcome: Entry | Page | RevisionMismatch | None = None


@dataclass
class Recorder:
    """Runs random clients against a store and keeps what they saw."""

    store: Store
    random: random.Random
    operations: list[Operation] = field(default_factory=list)
    ticks: int = 0
    highest_acknowledged: int = 0

    async def client(self, keys: int, steps: int) -> None:
        """One client: mostly guarded by what it has seen last, sometimes by something stale."""
        seen: dict[str, int] = {}
        for step in range(steps):
            key = f"/k/{self.random.randrange(keys)}"
            name = self.random.choice(("create", "update", "update", "delete", "get", "list"))
            guard = seen.get(key, 0)
            operation = self._start(name, key, guard, b"%d-%d" % (id(seen), step))
            outcome = await self._call(operation)
            self._end(operation, outcome)
            current = outcome.current if isinstance(outcome, RevisionMismatch) else outcome
            if name != "list":
                seen[key] = current.mod_revision if isinstance(current, Entry) else 0
            if self.random.random() < 0.3:
                await asyncio.sleep(0)

    def _start(self, name: str, key: str, guard: int, value: bytes) -> Operation:
        self.ticks += 1
        return Operation(name, key, guard, value, self.ticks, self.highest_acknowledged)

    async def _call(self, o: Operation) -> Entry | Page | RevisionMismatch | None:
        try:
            match o.name:
                case "create":
                    return await self.store.create(o.key, o.value)
                case "update":
                    return await self.store.update(o.key, o.value, o.guard)
                case "delete":
                    return await self.store.delete(o.key, o.guard)
                case "get":
                    return await self.store.get(o.key)
                case _:
                    return await self.store.list("/k/")
        except RevisionMismatch as mismatch:
            return mismatch

    def _end(self, operation: Operation, outcome: Entry | Page | RevisionMismatch | None) -> None:
        self.ticks += 1
        operation.ended = self.ticks
        operation.outcome = outcome
        self.operations.append(operation)
        if isinstance(outcome, Entry) and operation.name in ("create", "update", "delete"):
            self.highest_acknowledged = max(self.highest_acknowledged, outcome.mod_revision)


def check(operations: list[Operation], changes: list[Change]) -> None:
    """Raise AssertionError where the history cannot be explained."""
    states = _replay(_writes(operations), changes)
    for operation in operations:
        _explain(operation, states)


def _writes(operations: list[Operation]) -> dict[int, Operation]:
    writes: dict[int, Operation] = {}
    for operation in operations:
        if not isinstance(operation.outcome, Entry) or operation.name == "get":
            continue
        revision = operation.outcome.mod_revision
        assert revision not in writes, f"revision {revision} was issued twice"
        # Whatever was acknowledged before this write began has an earlier revision.
        assert revision > operation.started_at_revision, "a write went back in time"
        writes[revision] = operation
    return writes


def _replay(
    writes: dict[int, Operation], changes: list[Change]
) -> list[tuple[int, dict[str, Entry]]]:
    """The state after each revision; the watched changes must be just these writes."""
    assert [change.revision for change in changes] == sorted(writes), "the watch missed or made up"
    state: dict[str, Entry] = {}
    states = [(0, dict(state))]
    for change in changes:
        write = writes[change.revision]
        before = state.get(write.key)
        assert change.key == write.key
        assert change.previous == before, f"{change} does not follow {before}"
        if write.name == "create":
            assert before is None, f"{write} created what existed"
        else:
            assert before is not None and before.mod_revision == write.guard, f"{write} on {before}"
        if write.name == "delete":
            assert change.entry is None
            del state[write.key]
        else:
            assert change.entry == write.outcome
            assert isinstance(write.outcome, Entry) and write.outcome.value == write.value
            state[write.key] = write.outcome
        states.append((change.revision, dict(state)))
    return states


def _explain(operation: Operation, states: list[tuple[int, dict[str, Entry]]]) -> None:
    """A read or a refusal must show a state no older than what was acknowledged before it."""
    possible = [state for revision, state in states if revision >= operation.started_at_revision]
    # The state that was current at the start may be older than the first one above.
    possible += [s for revision, s in states if revision <= operation.started_at_revision][-1:]
    outcome = operation.outcome
    if isinstance(outcome, Page):
        shown = {entry.key: entry for entry in outcome.entries}
        assert shown in possible, f"{operation} shows a state that never was"
    elif isinstance(outcome, RevisionMismatch):
        current = outcome.current
        assert any(state.get(operation.key) == current for state in possible), f"{operation}"
        found = current.mod_revision if current else 0
        refused = found != 0 if operation.name == "create" else found != operation.guard
        assert refused or found == 0, f"{operation} was refused without a reason"
    elif operation.name == "get":
        assert any(state.get(operation.key) == outcome for state in possible), f"{operation}"
