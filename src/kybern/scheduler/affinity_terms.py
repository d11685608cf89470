"""Inter-pod affinity terms, parsed once for each distinct pod shape.

A term asks for pods (by namespaces and labels) that run in the same domain of a topology key.
matchLabelKeys were merged into the selector by the API server when the pod was created.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from kybern.api.selectors import LabelSelector

Obj = dict[str, Any]
Labels = Mapping[str, str]

REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """One (anti-)affinity term; ``weight`` is 0 for a required one."""

    namespaces: tuple[str, ...]
    namespace_selector: LabelSelector
    selector: LabelSelector
    topology_key: str
    weight: int = 0

    def matches(self, namespace: str, labels: Labels, namespace_labels: Labels) -> bool:
        """Whether a pod of ``namespace`` with ``labels`` is one that the term speaks of."""
        if namespace not in self.namespaces:
            if self.namespace_selector.nothing:
                return False
            if not self.namespace_selector.matches(namespace_labels):
                return False
        return self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class AffinityTerms:
    """All inter-pod terms of one pod."""

    required: tuple[AffinityTerm, ...] = ()
    preferred: tuple[AffinityTerm, ...] = ()
    required_anti: tuple[AffinityTerm, ...] = ()
    preferred_anti: tuple[AffinityTerm, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.required or self.preferred or self.required_anti or self.preferred_anti)

    def all(self) -> tuple[AffinityTerm, ...]:
        return self.required + self.preferred + self.required_anti + self.preferred_anti


NO_TERMS = AffinityTerms()


def affinity_terms(pod: Obj) -> AffinityTerms:
    """Parse a pod's podAffinity and podAntiAffinity."""
    affinity = pod["spec"].get("affinity") or {}
    together, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    if not together and not apart:
        return NO_TERMS
    return _parsed(orjson.dumps((together, apart)), pod["metadata"].get("namespace", ""))


@lru_cache(REMEMBERED)
def _parsed(written: bytes, namespace: str) -> AffinityTerms:
    together, apart = orjson.loads(written)
    return AffinityTerms(
        required=_required(together, namespace),
        preferred=_preferred(together, namespace),
        required_anti=_required(apart, namespace),
        preferred_anti=_preferred(apart, namespace),
    )


def _required(affinity: Obj, namespace: str) -> tuple[AffinityTerm, ...]:
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_term(term, namespace, 0) for term in terms)


def _preferred(affinity: Obj, namespace: str) -> tuple[AffinityTerm, ...]:
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_term(t["podAffinityTerm"], namespace, t["weight"]) for t in terms)


def _term(term: Obj, namespace: str, weight: int) -> AffinityTerm:
    namespaces = tuple(sorted(term.get("namespaces") or ()))
    namespace_selector = term.get("namespaceSelector")
    if not namespaces and namespace_selector is None:
        namespaces = (namespace,)
    return AffinityTerm(
        namespaces=namespaces,
        namespace_selector=LabelSelector.from_object(namespace_selector),
        selector=LabelSelector.from_object(term.get("labelSelector")),
        topology_key=term["topologyKey"],
        weight=weight,
    )
