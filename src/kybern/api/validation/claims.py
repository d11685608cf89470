"""Validation of what a volume claim asks for: in claims, templates and ephemeral volumes."""

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.quantity import Quantity
from kybern.api.validation.fields import named, one_of
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.metadata import annotations, finalizers, labels
from kybern.api.validation.names import dns_subdomain

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
NOT_ALONE = "may not use ReadWriteOncePod with other access modes"


def access_modes(modes: list[str], path: str) -> list[FieldError]:
    """At least one mode, known ones only; ReadWriteOncePod stands alone."""
    if not modes:
        return [required(path)]
    errors = [not_supported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    others = [mode for mode in modes if mode in ACCESS_MODES and mode != "ReadWriteOncePod"]
    if "ReadWriteOncePod" in modes and others:
        errors.append(field_forbidden(path, NOT_ALONE))
    return errors


def claim_spec(spec: Obj, path: str) -> list[FieldError]:
    """``spec`` of a PersistentVolumeClaim, wherever it stands."""
    errors: list[FieldError] = []
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    if spec.get("selector") is not None:
        errors += label_selector(spec["selector"], f"{path}.selector")
    errors += access_modes(modes, f"{path}.accessModes") if modes else []
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at = f"{path}.resources[storage]"
    if storage is None:
        errors.append(required(at))
    elif Quantity.parse(storage).nano <= 0:
        shown = Quantity.parse(storage).canonical()
        errors.append(invalid_value(at, shown, "must be greater than zero"))
    storage_class = spec.get("storageClassName")
    if storage_class:
        path_to_class = f"{path}.storageClassName"
        errors += named(dns_subdomain(storage_class), storage_class, path_to_class)
    if spec.get("volumeMode") is not None:
        errors += one_of(spec["volumeMode"], VOLUME_MODES, f"{path}.volumeMode")
    errors += _sources(spec, path)
    attributes_class = spec.get("volumeAttributesClassName")
    if attributes_class:
        path_to_class = f"{path}.volumeAttributesClassName"
        errors += named(dns_subdomain(attributes_class), attributes_class, path_to_class)
    return errors


def _sources(spec: Obj, path: str) -> list[FieldError]:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    errors: list[FieldError] = []
    if source is not None:
        errors += _source(source, f"{path}.dataSource")
    if reference is not None:
        errors += _source(reference, f"{path}.dataSourceRef")
    if reference and reference.get("namespace"):
        if source is not None:
            text = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(invalid_value(f"{path}.dataSource", source, text))
    elif source is not None and reference is not None:
        fields = ("apiGroup", "kind", "name")
        if any(source.get(f) != reference.get(f) for f in fields):
            text = "must match dataSourceRef"
            errors.append(invalid_value(f"{path}.dataSource", source, text))
    return errors


def _source(source: Obj, path: str) -> list[FieldError]:
    errors = [required(f"{path}.{f}") for f in ("name", "kind") if not source.get(f)]
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(invalid_value(path, source.get("kind", ""), text))
    if group:
        errors += named(dns_subdomain(group), group, f"{path}.apiGroup")
    return errors


def claim_template(template: Obj, path: str) -> list[FieldError]:
    """The template of an ephemeral volume's claim; its name is made by the server."""
    meta = template.get("metadata") or {}
    errors: list[FieldError] = []
    if meta.get("annotations"):
        errors += annotations(meta["annotations"], f"{path}.metadata.annotations")
    if meta.get("labels"):
        errors += labels(meta["labels"], f"{path}.metadata.labels")
    if meta.get("finalizers"):
        errors += finalizers(meta["finalizers"], f"{path}.metadata.finalizers")
    for name in ("name", "namespace", "generateName"):
        if meta.get(name):
            errors.append(field_forbidden(f"{path}.metadata.{name}", "field not allowed here"))
    return errors + claim_spec(template.get("spec") or {}, f"{path}.spec")
