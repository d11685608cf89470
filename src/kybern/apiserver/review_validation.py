"""What makes an access review a proper question, in upstream's order and words."""

from collections.abc import Iterator

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value, required
from kybern.api.validation.label_selectors import (
    NEEDS_NO_VALUES,
    NEEDS_VALUES,
    WITH_VALUES,
    WITHOUT_VALUES,
)
from kybern.api.validation.metadata import label_key
from kybern.api.validation.names import is_label_value

_ONE_OF = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
_BOTH = "cannot be specified in combination with resourceAttributes"
_NOBODY = "at least one of user or group must be specified"
_RESOURCE, _OTHER = "spec.resourceAttributes", "spec.nonResourceAttributes"


def check_self_review(review: Obj) -> list[FieldError]:
    """Of SelfSubjectAccessReview."""
    errors = _one_of(review)
    errors += _selectors(review)
    return errors + _bare(review, ())


def check_review(review: Obj) -> list[FieldError]:
    """Of SubjectAccessReview."""
    return _about_somebody(review) + _bare(review, ())


def check_local_review(review: Obj, namespace: str) -> list[FieldError]:
    """Of LocalSubjectAccessReview in a namespace."""
    errors = _about_somebody(review) + _bare(review, ("namespace",))
    spec = review.get("spec") or {}
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and resource.get("namespace", "") != namespace:
        why = "must match metadata.namespace"
        errors.append(invalid_value(f"{_RESOURCE}.namespace", resource.get("namespace", ""), why))
    if other is not None:
        errors.append(invalid_value(_OTHER, _shown(other), "disallowed on this kind of request"))
    return errors


def _about_somebody(review: Obj) -> list[FieldError]:
    spec = review.get("spec") or {}
    errors = _one_of(review)
    if not (spec.get("user") or spec.get("groups")):
        errors.append(invalid_value("spec.user", "", _NOBODY))
    return errors + _selectors(review)


def _one_of(review: Obj) -> list[FieldError]:
    spec = review.get("spec") or {}
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        return [invalid_value(_OTHER, _shown(other), _BOTH)]
    if resource is None and other is None:
        return [invalid_value(_RESOURCE, None, _ONE_OF)]
    return []


def _bare(review: Obj, allowed: tuple[str, ...]) -> list[FieldError]:
    """Reviews are not stored, so they carry nothing that stored objects do."""
    metadata = review.get("metadata") or {}
    if not metadata.keys() - {"managedFields", *allowed}:
        return []
    why = "must be empty except for namespace" if allowed else "must be empty"
    return [invalid_value("metadata", metadata, why)]


def _selectors(review: Obj) -> list[FieldError]:
    attributes = (review.get("spec") or {}).get("resourceAttributes") or {}
    errors: list[FieldError] = []
    for name, labels in (("fieldSelector", False), ("labelSelector", True)):
        if name in attributes:
            errors += _selector(attributes[name], f"{_RESOURCE}.{name}", labels)
    return errors


def _selector(selector: Obj, path: str, labels: bool) -> Iterator[FieldError]:
    raw, requirements = selector.get("rawSelector"), selector.get("requirements")
    if raw and requirements:
        why = "may not specified at the same time as requirements"
        yield invalid_value(f"{path}.rawSelector", raw, why)
    if not raw and not requirements:
        why = f"when {path} is specified, requirements or rawSelector is required"
        yield required(f"{path}.requirements", why)
    for index, requirement in enumerate(requirements or ()):
        yield from _requirement(requirement, f"{path}.requirements[{index}]", labels)


def _requirement(requirement: Obj, path: str, labels: bool) -> Iterator[FieldError]:
    """An unknown operator is let pass: newer clients may know more of them."""
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    key = requirement.get("key", "")
    if not labels and not key:
        yield required(f"{path}.key", "must be specified")
    if operator in WITH_VALUES and not values:
        yield required(f"{path}.values", NEEDS_VALUES)
    elif operator in WITHOUT_VALUES and values:
        yield field_forbidden(f"{path}.values", NEEDS_NO_VALUES)
    if labels:
        yield from label_key(key, f"{path}.key")
        for index, value in enumerate(values):
            for why in is_label_value(value):
                yield invalid_value(f"{path}.values[{index}]", value, why)


def _shown(other: Obj) -> Obj:
    """A path and a verb as upstream prints them: by the names of its own fields."""
    return {"Path": other.get("path", ""), "Verb": other.get("verb", "")}
