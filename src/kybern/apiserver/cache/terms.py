"""An index from label values and indexed fields to keys, so that a selector reads few objects."""

from collections.abc import Sequence

from kybern.apiserver.cache.events import Selection
from kybern.apiserver.cache.objects import CachedObject

_LABEL = ""

# A field (or the label mark), its key if it is a label, and the value.
Term = tuple[str, str, str]


class TermIndex:
    """Keys of live objects by each of their labels and by the indexed fields."""

    def __init__(self, indexed_fields: Sequence[str]) -> None:
        self._indexed_fields = tuple(indexed_fields)
        self._keys: dict[Term, dict[str, None]] = {}

    def replace(self, key: str, before: CachedObject | None, after: CachedObject | None) -> None:
        """Follow one change of the object at ``key``."""
        old = self._terms(before) if before is not None else {}
        new = self._terms(after) if after is not None else {}
        if old == new:
            return
        for term in old:
            if term not in new:
                keys = self._keys[term]
                del keys[key]
                if not keys:
                    del self._keys[term]
        for term in new:
            if term not in old:
                self._keys.setdefault(term, {})[key] = None

    def candidates(self, selection: Selection) -> list[str] | None:
        """Keys, in order, that hold all that ``selection`` can select; None if all may."""
        best: dict[str, None] | None = None
        for term in self._required(selection):
            keys = self._keys.get(term, {})
            if best is None or len(keys) < len(best):
                best = keys
        if best is None:
            return None
        return sorted(key for key in best if key.startswith(selection.prefix))

    def _terms(self, cached: CachedObject) -> dict[Term, None]:
        terms: dict[Term, None] = {}
        for name, value in cached.labels.items():
            terms[(_LABEL, name, value)] = None
        for field in self._indexed_fields:
            terms[(field, "", cached.fields.get(field, ""))] = None
        return terms

    def _required(self, selection: Selection) -> list[Term]:
        """Terms that every object of the selection has."""
        terms: list[Term] = []
        if selection.labels is not None:
            for requirement in selection.labels.requirements:
                if requirement.operator in ("=", "==", "in") and len(requirement.values) == 1:
                    terms.append((_LABEL, requirement.key, requirement.values[0]))
        if selection.fields is not None:
            for field in self._indexed_fields:
                value = selection.fields.exact(field)
                if value is not None:
                    terms.append((field, "", value))
        return terms
