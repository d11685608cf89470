"""Validation of ``metadata``: names, labels, annotations, owners, finalizers, managed fields."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value, required, too_long
from kybern.api.validation.names import (
    dns_label,
    is_label_value,
    is_path_segment,
    is_qualified_name,
)

NameRule = Callable[[str, bool], tuple[str, ...]]

IMMUTABLE = "field is immutable"
MAX_ANNOTATION_BYTES = 256 * 1024
_MAX_MANAGER_LENGTH = 128
_MAX_SUBRESOURCE_LENGTH = 256
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_SERVER_FIELDS = ("name", "namespace", "uid", "creationTimestamp")
_DELETION_FIELDS = ("deletionTimestamp", "deletionGracePeriodSeconds")


def object_meta(
    meta: Obj, namespaced: bool, name_rule: NameRule, path: str = "metadata"
) -> list[FieldError]:
    """Errors of an object's metadata at create time, after name generation."""
    errors: list[FieldError] = []
    generate_name = meta.get("generateName")
    if generate_name:
        for message in name_rule(generate_name, True):
            errors.append(invalid_value(f"{path}.generateName", generate_name, message))
    name = meta.get("name")
    if not name:
        errors.append(required(f"{path}.name", "name or generateName is required"))
    else:
        for message in name_rule(name, False):
            errors.append(invalid_value(f"{path}.name", name, message))
    errors += _namespace(meta.get("namespace"), namespaced, path)
    if meta.get("generation", 0) < 0:
        errors.append(
            invalid_value(
                f"{path}.generation", meta["generation"], "must be greater than or equal to 0"
            )
        )
    if meta.get("labels"):
        errors += labels(meta["labels"], f"{path}.labels")
    if meta.get("annotations"):
        errors += annotations(meta["annotations"], f"{path}.annotations")
    if meta.get("ownerReferences"):
        errors += owner_references(meta["ownerReferences"], f"{path}.ownerReferences")
    if meta.get("finalizers"):
        errors += finalizers(meta["finalizers"], f"{path}.finalizers")
    if meta.get("managedFields"):
        errors += managed_fields(meta["managedFields"], f"{path}.managedFields")
    return errors


def _namespace(namespace: str | None, namespaced: bool, path: str) -> list[FieldError]:
    if not namespaced:
        if namespace:
            return [field_forbidden(f"{path}.namespace", "not allowed on this type")]
        return []
    if not namespace:
        return [required(f"{path}.namespace")]
    return [invalid_value(f"{path}.namespace", namespace, m) for m in dns_label(namespace)]


def common_metadata_changes(new: Obj, old: Obj, namespaced: bool) -> list[FieldError]:
    """What every update is checked for before the kind's own rules."""
    return object_meta(new, namespaced, is_path_segment) + object_meta_update(new, old)


def object_meta_update(new: Obj, old: Obj, path: str = "metadata") -> list[FieldError]:
    """Errors of a change of metadata."""
    errors: list[FieldError] = []
    if old.get("deletionTimestamp"):
        errors += _no_new_finalizers(new, old, path)
    if not new.get("resourceVersion"):
        errors.append(
            invalid_value(f"{path}.resourceVersion", "", "must be specified for an update")
        )
    if new.get("generation", 0) < old.get("generation", 0):
        errors.append(
            invalid_value(f"{path}.generation", new.get("generation", 0), "must not be decremented")
        )
    for name in _SERVER_FIELDS:
        if new.get(name) != old.get(name):
            errors.append(invalid_value(f"{path}.{name}", new.get(name, ""), IMMUTABLE))
    for name in _DELETION_FIELDS:
        if new.get(name) != old.get(name):
            errors.append(invalid_value(f"{path}.{name}", new.get(name), IMMUTABLE))
    if new.get("labels"):
        errors += labels(new["labels"], f"{path}.labels")
    if new.get("annotations"):
        errors += annotations(new["annotations"], f"{path}.annotations")
    if new.get("ownerReferences"):
        errors += owner_references(new["ownerReferences"], f"{path}.ownerReferences")
    if new.get("managedFields"):
        errors += managed_fields(new["managedFields"], f"{path}.managedFields")
    return errors


def _no_new_finalizers(new: Obj, old: Obj, path: str) -> list[FieldError]:
    extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
    if not extra:
        return []
    shown = "[]string{" + ", ".join(f'"{name}"' for name in extra) + "}"
    text = "no new finalizers can be added if the object is being deleted, found new finalizers "
    return [field_forbidden(f"{path}.finalizers", text + shown)]


def label_key(key: str, path: str) -> list[FieldError]:
    return [invalid_value(path, key, message) for message in is_qualified_name(key)]


def labels(values: Mapping[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in values.items():
        for message in is_qualified_name(key):
            errors.append(invalid_value(path, key, message))
        for message in is_label_value(value):
            errors.append(invalid_value(path, value, message))
    return errors


def annotations(values: Mapping[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in values:
        for message in is_qualified_name(key.lower()):
            errors.append(invalid_value(path, key, message))
    return errors + _annotations_size(values, path)


def user_annotations(values: Mapping[str, str], path: str) -> list[FieldError]:
    """Errors of what a user tells a signer: annotations whose keys have a domain before them."""
    errors: list[FieldError] = []
    for key in map(str.lower, values):
        problems = is_qualified_name(key)
        if not key:
            errors.append(required(path))
        elif not problems and "/" not in key:
            problems = ('must be a domain-prefixed key (such as "acme.io/foo")',)
        errors += [invalid_value(path, key, problem) for problem in problems if key]
    return errors + _annotations_size(values, path)


def _annotations_size(values: Mapping[str, str], path: str) -> list[FieldError]:
    # Characters bound the bytes within a factor of four, so most objects need no encoding.
    if 4 * sum(len(key) + len(value) for key, value in values.items()) <= MAX_ANNOTATION_BYTES:
        return []
    size = sum(len(key.encode()) + len(value.encode()) for key, value in values.items())
    return [too_long(path, MAX_ANNOTATION_BYTES)] if size > MAX_ANNOTATION_BYTES else []


def owner_references(references: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    controller = ""
    for reference in references:
        errors += _owner_reference(reference, path)
        if not reference.get("controller"):
            continue
        named = f"{reference.get('kind', '')}/{reference.get('name', '')}"
        if controller:
            text = 'Only one reference can have Controller set to true. Found "true" in '
            text += f"references for {controller} and {named}"
            errors.append(invalid_value(path, references, text))
        else:
            controller = named
    return errors


def _owner_reference(reference: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    api_version = reference.get("apiVersion", "")
    if not api_version.rpartition("/")[2]:
        text = "version must not be empty"
        errors.append(invalid_value(f"{path}.apiVersion", api_version, text))
    for name in ("kind", "name", "uid"):
        if not reference.get(name):
            errors.append(invalid_value(f"{path}.{name}", "", "must not be empty"))
    if api_version == "v1" and reference.get("kind") == "Event":
        text = "/v1, Kind=Event is disallowed from being an owner"
        errors.append(invalid_value(path, reference, text))
    return errors


def finalizers(names: Iterable[str], path: str) -> list[FieldError]:
    names = list(names)
    errors = [invalid_value(path, name, m) for name in names for m in is_qualified_name(name)]
    if "orphan" in names and "foregroundDeletion" in names:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid_value(path, names, text))
    return errors


def standard_finalizers(meta: Obj, path: str = "metadata") -> list[FieldError]:
    """What most built-in kinds ask beyond: a finalizer without a domain is one of the standard."""
    text = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        invalid_value(f"{path}.finalizers[{i}]", name, text)
        for i, name in enumerate(meta.get("finalizers") or ())
        if "/" not in name and name not in _STANDARD_FINALIZERS
    ]


def managed_fields(entries: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, entry in enumerate(entries):
        at = f"{path}[{i}]"
        operation = entry.get("operation", "")
        if operation not in ("Apply", "Update"):
            text = "must be `Apply` or `Update`"
            errors.append(invalid_value(f"{at}.operation", operation, text))
        if entry.get("fieldsType", "FieldsV1") not in ("", "FieldsV1"):
            text = "must be `FieldsV1`"
            errors.append(invalid_value(f"{at}.fieldsType", entry["fieldsType"], text))
        errors += field_manager(entry.get("manager", ""), f"{at}.manager")
        if len(entry.get("subresource", "")) > _MAX_SUBRESOURCE_LENGTH:
            errors.append(too_long(f"{at}.subresource", _MAX_SUBRESOURCE_LENGTH))
    return errors


def field_manager(name: str, path: str = "fieldManager") -> list[FieldError]:
    """A manager's name: short and printable."""
    errors: list[FieldError] = []
    if len(name) > _MAX_MANAGER_LENGTH:
        errors.append(too_long(path, _MAX_MANAGER_LENGTH))
    if not name.isprintable():
        for i, c in enumerate(name):
            if not c.isprintable():
                text = f"invalid character U+{ord(c):04X} (at position {i})"
                errors.append(invalid_value(path, name, text))
    return errors


def immutable(new: Any, old: Any, path: str) -> list[FieldError]:
    """The error of a field that may not change after creation."""
    return [] if new == old else [invalid_value(path, new, IMMUTABLE)]
