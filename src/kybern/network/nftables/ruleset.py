"""What is in the table, owner by owner, and the smallest transaction from one state to the next.

A :class:`Fragment` is one owner's share (a Service, the host ports, the node): chains, sets and
elements of the table's maps. :class:`Ruleset` holds the fragments, ``change`` swaps some of them
and returns the transaction, ``render`` is the whole table as one transaction. Pure: text out,
nothing is run. What fails in the kernel is healed by applying ``render``.

Chains that nothing refers to any more are emptied at once and deleted by the next transaction:
kernels before 6.2 refuse to delete a chain whose map element goes in the same transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kybern.network.nftables.table import FAMILY_AND_TABLE, Skeleton

# An element's key and its value; plain sets have None as the value.
Elements = dict[tuple[str, str], str | None]


@dataclass
class Fragment:
    """One owner's part of the table. Names of chains and sets must be the owner's alone.

    ``chains``: rules by chain name. ``sets``: declaration by set name. ``elements``: the value by
    (map or set of the skeleton, key); owners may claim the same element, the first one has it.
    """

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    elements: Elements = field(default_factory=dict)


EMPTY = Fragment()
_ABSENT = "absent"


class Ruleset:
    """The wanted state of the table; after a change of ``skeleton``, apply ``render``."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self._fragments: dict[str, Fragment] = {}
        self._claims: dict[tuple[str, str], dict[str, str | None]] = {}
        self._stale_chains: dict[str, None] = {}
        self._stale_sets: dict[str, None] = {}

    def change(self, updates: Mapping[str, Fragment]) -> str:
        """Swap the owners' fragments (``EMPTY`` removes one); the transaction, "" if nothing."""
        touched: Elements = {}
        removed: list[str] = []
        declared: list[str] = []
        filled: list[str] = []
        emptied: list[str] = []
        for owner, fragment in updates.items():
            before = self._fragments.get(owner, EMPTY)
            self._declare(before, fragment, declared, removed)
            self._fill(before, fragment, filled, emptied)
            self._claim(owner, before, fragment, touched)
            if fragment == EMPTY:
                self._fragments.pop(owner, None)
            else:
                self._fragments[owner] = fragment
        deleted, added = self._moved(touched)
        return _transaction(removed, declared, filled, deleted, added, emptied)

    def sweep(self) -> str:
        """The transaction that deletes chains and sets that earlier changes left unused."""
        lines = [f"delete chain {FAMILY_AND_TABLE} {name}" for name in self._stale_chains]
        lines += [f"delete set {FAMILY_AND_TABLE} {name}" for name in self._stale_sets]
        self._stale_chains.clear()
        self._stale_sets.clear()
        return _transaction(lines)

    def render(self) -> str:
        """The whole table; it replaces whatever is there, atomically."""
        self._stale_chains.clear()
        self._stale_sets.clear()
        declared: list[str] = []
        filled: list[str] = []
        for fragment in self._fragments.values():
            self._declare(EMPTY, fragment, declared, [])
            self._fill(EMPTY, fragment, filled, [])
        effective = {at: _effective(claims) for at, claims in self._claims.items()}
        added = _element_lines("add", effective, with_values=True)
        return _transaction(self.skeleton.lines(), declared, filled, added)

    def _declare(
        self, before: Fragment, after: Fragment, declared: list[str], removed: list[str]
    ) -> None:
        for name, declaration in after.sets.items():
            if name in before.sets:
                continue
            if name in self._stale_sets:
                del self._stale_sets[name]
                removed.append(f"delete set {FAMILY_AND_TABLE} {name}")
            declared.append(f"add set {FAMILY_AND_TABLE} {name} {{ {declaration} }}")
        for name in after.chains:
            if name not in before.chains:
                self._stale_chains.pop(name, None)
                declared.append(f"add chain {FAMILY_AND_TABLE} {name}")

    def _fill(
        self, before: Fragment, after: Fragment, filled: list[str], emptied: list[str]
    ) -> None:
        for name, rules in after.chains.items():
            if before.chains.get(name) == rules:
                continue
            if name in before.chains:
                filled.append(f"flush chain {FAMILY_AND_TABLE} {name}")
            filled.extend(f"add rule {FAMILY_AND_TABLE} {name} {rule}" for rule in rules)
        for name in before.chains:
            if name not in after.chains:
                emptied.append(f"flush chain {FAMILY_AND_TABLE} {name}")
                self._stale_chains[name] = None
        for name in before.sets:
            if name not in after.sets:
                self._stale_sets[name] = None

    def _claim(self, owner: str, before: Fragment, after: Fragment, touched: Elements) -> None:
        """Record who claims what; ``touched`` keeps the value each element had before."""
        for at in [*before.elements, *after.elements]:
            if before.elements.get(at, _ABSENT) == after.elements.get(at, _ABSENT):
                continue
            claims = self._claims.setdefault(at, {})
            touched.setdefault(at, _effective(claims) if claims else _ABSENT)
            if at in after.elements:
                claims[owner] = after.elements[at]
            else:
                claims.pop(owner, None)

    def _moved(self, touched: Elements) -> tuple[list[str], list[str]]:
        """Lines that delete and add the elements whose effective value is another one now."""
        deleted: Elements = {}
        added: Elements = {}
        for at, old in touched.items():
            claims = self._claims[at]
            now = _effective(claims) if claims else _ABSENT
            if not claims:
                del self._claims[at]
            if now == old:
                continue
            if old != _ABSENT:
                deleted[at] = old
            if now != _ABSENT:
                added[at] = now
        return (
            _element_lines("delete", deleted, with_values=False),
            _element_lines("add", added, with_values=True),
        )


def _effective(claims: Mapping[str, str | None]) -> str | None:
    """Of several owners the first by name has the element, on every node the same one."""
    return claims[min(claims)]


def _element_lines(verb: str, elements: Elements, *, with_values: bool) -> list[str]:
    grouped: dict[str, list[str]] = {}
    for (name, key), value in elements.items():
        text = f"{key} : {value}" if with_values and value is not None else key
        grouped.setdefault(name, []).append(text)
    return [
        f"{verb} element {FAMILY_AND_TABLE} {name} {{ {', '.join(items)} }}"
        for name, items in grouped.items()
    ]


def _transaction(*groups: Iterable[str]) -> str:
    return "".join(f"{line}\n" for group in groups for line in group)
