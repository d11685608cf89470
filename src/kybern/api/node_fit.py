"""Which nodes a pod's spec admits: nodeSelector, required node affinity, tolerations of taints.

Pure rules over one pod spec and one Node. The scheduler judges whole columns of nodes with the same
meaning; controllers and queueing hints ask here. A term that cannot be parsed matches nothing, as
upstream.
"""

from collections.abc import Iterable, Sequence
from typing import Any

Obj = dict[str, Any]

NAME_FIELD = "metadata.name"


def required_terms(spec: Obj) -> Sequence[Obj] | None:
    """The pod's required node affinity terms (ORed), or None if it has none."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else required.get("nodeSelectorTerms") or ()


def preferred_terms(spec: Obj) -> Sequence[Obj]:
    """The pod's preferred node affinity: ``{"weight", "preference"}`` each."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()


def matches_node(spec: Obj, node: Obj) -> bool:
    """Whether nodeSelector and required node affinity admit the node."""
    labels = node["metadata"].get("labels") or {}
    selector = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    terms = required_terms(spec)
    return terms is None or any(term_matches(term, node) for term in terms)


def term_matches(term: Obj, node: Obj) -> bool:
    """One term: all its expressions and fields; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels") or {}
    name = node["metadata"]["name"]
    return all(
        label_holds(requirement, labels.get(requirement["key"])) for requirement in expressions
    ) and all(field_holds(requirement, name) for requirement in fields)


def label_holds(requirement: Obj, value: str | None) -> bool:
    operator, values = requirement["operator"], requirement.get("values") or []
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None and not values
    if operator == "DoesNotExist":
        return value is None and not values
    if operator in ("Gt", "Lt") and value is not None and len(values) == 1:
        held, bound = _int64(value), _int64(values[0])
        if held is None or bound is None:
            return False
        return held > bound if operator == "Gt" else held < bound
    return False


def field_holds(requirement: Obj, name: str) -> bool:
    operator, values = requirement["operator"], requirement.get("values") or []
    if len(values) != 1 or operator not in ("In", "NotIn"):
        return False
    held = name if requirement["key"] == NAME_FIELD else ""
    return (held == values[0]) == (operator == "In")


def _int64(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


def tolerates(toleration: Obj, taint: Obj) -> bool:
    """One toleration against one taint; numeric operators are off by default, as upstream."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return operator == "Equal" and toleration.get("value", "") == (taint.get("value") or "")


def untolerated(spec: Obj, taints: Iterable[Obj], *effects: str) -> list[Obj]:
    """The taints with one of ``effects`` that the pod spec does not tolerate."""
    tolerations = spec.get("tolerations") or ()
    return [
        taint
        for taint in taints
        if taint["effect"] in effects and not any(tolerates(one, taint) for one in tolerations)
    ]
