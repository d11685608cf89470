"""Validation of the pod templates of workloads, and of their selectors."""

from collections.abc import Iterable

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value, not_supported
from kybern.api.selectors import LabelSelector
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.metadata import annotations, labels
from kybern.api.validation.pod_spec import pod_spec

WRONG_LABELS = "`selector` does not match template `labels`"


def pod_template(template: Obj, path: str) -> list[FieldError]:
    """Errors of a ``PodTemplateSpec``."""
    meta = template.get("metadata") or {}
    errors: list[FieldError] = []
    if meta.get("labels"):
        errors += labels(meta["labels"], f"{path}.labels")
    if meta.get("annotations"):
        errors += annotations(meta["annotations"], f"{path}.annotations")
    spec = template.get("spec") or {}
    errors += pod_spec(spec, f"{path}.spec", is_pod=False)
    if spec.get("ephemeralContainers"):
        at = f"{path}.spec.ephemeralContainers"
        errors.append(field_forbidden(at, "ephemeral containers not allowed in pod template"))
    return errors


def workload_template(
    template: Obj, selector: Obj | None, path: str, complaint: str = "invalid label selector"
) -> list[FieldError]:
    """A template whose pods the workload's selector must find.

    Of a workload whose selector is not sound, upstream says so and leaves the template alone.
    """
    if selector is not None and label_selector(selector, path):
        return [invalid_value("spec.selector", selector, complaint)]
    return selected(selector, template, path) + pod_template(template, path)


def selected(selector: Obj | None, template: Obj, path: str) -> list[FieldError]:
    """The error of a template that a sound selector does not match; none matches nothing."""
    held = (template.get("metadata") or {}).get("labels")
    if selector is not None and LabelSelector.from_object(selector).matches(held or {}):
        return []
    shown = dict(sorted(held.items())) if held else None
    return [invalid_value(f"{path}.metadata.labels", shown, WRONG_LABELS)]


def restart_policy(template: Obj, allowed: Iterable[str], path: str) -> list[FieldError]:
    """Most workloads restart their pods themselves or not at all."""
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    allowed = tuple(allowed)
    if policy in allowed:
        return []
    return [not_supported(f"{path}.spec.restartPolicy", policy, allowed)]


def no_active_deadline(template: Obj, kind: str, path: str) -> list[FieldError]:
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is None:
        return []
    text = f"activeDeadlineSeconds in {kind} is not Supported"
    return [field_forbidden(f"{path}.spec.activeDeadlineSeconds", text)]
