"""Validation of CustomResourceDefinitions.

Upstream keeps what all versions have in common at the top of its internal form, and reports errors
there; so a definition with one version gets paths such as ``spec.validation``.
"""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.fields import dns_subdomain, named
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import is_dns1035_label
from kybern.api.validation.structural_schema import structural_schema

SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_MIXED_CASE = "may have mixed case, but should otherwise match: "
_ONE_STORAGE = "must have exactly one version marked as storage version"


def check_definition(crd: Obj) -> list[FieldError]:
    """Errors of a whole definition, beside those of its metadata."""
    spec = crd.get("spec") or {}
    names, group, scope = spec.get("names") or {}, spec.get("group", ""), spec.get("scope", "")
    errors: list[FieldError] = []
    name = crd["metadata"].get("name", "")
    if name != f"{names.get('plural', '')}.{group}":
        text = 'must be spec.names.plural+"."+spec.group'
        errors.append(invalid_value("metadata.name", name, text))
    errors += dns_subdomain(group, "spec.group") if group else [required("spec.group")]
    if group and "." not in group:
        text = "should be a domain with at least one dot"
        errors.append(invalid_value("spec.group", group, text))
    if not scope:
        errors.append(required("spec.scope"))
    elif scope not in SCOPES:
        errors.append(not_supported("spec.scope", scope, SCOPES))
    errors += _versions(spec.get("versions") or [])
    errors += _names(names)
    errors += _conversion(spec.get("conversion") or {})
    return errors + _stored_versions(crd, spec)


def _versions(versions: list[Obj]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    stored = sum(bool(version.get("storage")) for version in versions)
    repeated = False
    for i, version in enumerate(versions):
        name, at = version.get("name", ""), f"spec.versions[{i}]"
        repeated = repeated or name in seen
        seen.add(name)
        errors += named(is_dns1035_label(name), name, f"{at}.name")
        if version.get("deprecationWarning") is not None and not version.get("deprecated"):
            text = "can only be set for deprecated versions"
            value = version["deprecationWarning"]
            errors.append(invalid_value(f"{at}.deprecationWarning", value, text))
    if versions:
        first = versions[0].get("name", "")
        errors += named(is_dns1035_label(first), first, "spec.version")
    errors += _version_details(versions)
    if repeated:
        text = "must contain unique version names"
        errors.append(invalid_value("spec.versions", versions, text))
    if stored != 1:
        errors.append(invalid_value("spec.versions", versions, _ONE_STORAGE))
    return errors


def _version_details(versions: list[Obj]) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, shared, check in (
        ("schema", "spec.validation", _schema),
        ("subresources", "spec.subresources", _subresources),
        ("additionalPrinterColumns", "spec.additionalPrinterColumns", _columns),
    ):
        values = [version.get(field) for version in versions]
        if values and all(value == values[0] for value in values):
            errors += check(values[0], shared)
            continue
        for i, value in enumerate(values):
            errors += check(value, f"spec.versions[{i}].{field}")
    return errors


def _schema(value: Obj | None, path: str) -> list[FieldError]:
    schema = (value or {}).get("openAPIV3Schema")
    at = f"{path}.openAPIV3Schema"
    if schema is None:
        return (
            [required(at)]
            if "versions[" in path
            else [required("spec.versions[0].schema.openAPIV3Schema", "schemas are required")]
        )
    return structural_schema(schema, at)


def _subresources(value: Obj | None, path: str) -> list[FieldError]:
    scale = (value or {}).get("scale")
    if scale is None:
        return []
    errors: list[FieldError] = []
    for field, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        text, at = scale.get(field, ""), f"{path}.scale.{field}"
        if not text:
            errors.append(required(at))
        elif not text.startswith(prefix):
            what = f"should be a json path under {prefix[:-1]}"
            errors.append(invalid_value(at, text, what))
    return errors


def _columns(value: "list[Obj] | None", path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, column in enumerate(value or ()):
        at = f"{path}[{i}]"
        if not column.get("name"):
            errors.append(required(f"{at}.name"))
        kind = column.get("type", "")
        if not kind:
            errors.append(required(f"{at}.type", f"must be one of {','.join(_COLUMN_TYPES)}"))
        elif kind not in _COLUMN_TYPES:
            text = f"must be one of {','.join(_COLUMN_TYPES)}"
            errors.append(invalid_value(f"{at}.type", kind, text))
        if not column.get("jsonPath"):
            errors.append(required(f"{at}.JSONPath"))
    return errors


def _names(names: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("plural", "singular", "kind", "listKind"):
        value, at = names.get(field, ""), f"spec.names.{field}"
        if not value:
            errors.append(required(at))
        elif field in ("plural", "singular"):
            errors += named(is_dns1035_label(value), value, at)
        else:
            messages = is_dns1035_label(value.lower())
            errors += named([_MIXED_CASE + message for message in messages], value, at)
    for field in ("shortNames", "categories"):
        for i, value in enumerate(names.get(field) or ()):
            errors += named(is_dns1035_label(value), value, f"spec.names.{field}[{i}]")
    kind, list_kind = names.get("kind", ""), names.get("listKind", "")
    if kind and kind == list_kind:
        text = "kind and listKind may not be the same"
        errors.append(invalid_value("spec.names.listKind", list_kind, text))
    return errors


def _conversion(conversion: Obj) -> list[FieldError]:
    strategy, at = conversion.get("strategy", ""), "spec.conversion"
    if strategy not in ("None", "Webhook"):
        if not strategy:
            return [required(f"{at}.strategy")]
        return [not_supported(f"{at}.strategy", strategy, ("None", "Webhook"))]
    webhook = conversion.get("webhook") or {}
    if strategy == "None":
        return []
    errors: list[FieldError] = []
    if webhook.get("clientConfig") is None:
        text = "required when strategy is set to Webhook"
        errors.append(required(f"{at}.webhookClientConfig", text))
    reviews = webhook.get("conversionReviewVersions") or []
    if not reviews:
        errors.append(required(f"{at}.conversionReviewVersions"))
    for i, version in enumerate(reviews):
        if version in reviews[:i]:
            text = "duplicate version"
            errors.append(invalid_value(f"{at}.conversionReviewVersions[{i}]", version, text))
    return errors


def _stored_versions(crd: Obj, spec: Obj) -> list[FieldError]:
    held = (crd.get("status") or {}).get("storedVersions") or []
    at = "status.storedVersions"
    if not held:
        return [invalid_value(at, None, "must have at least one stored version")]
    errors: list[FieldError] = []
    names = [version.get("name") for version in spec.get("versions") or ()]
    for i, version in enumerate(held):
        if version in held[:i]:
            errors.append(duplicate(f"{at}[{i}]", version))
        if version not in names:
            text = (
                "missing from spec.versions; v1 was previously a storage version, and must remain"
            )
            text = text.replace("v1", version)
            text += " in spec.versions until a storage migration ensures no data remains persisted "
            text += f"in {version} and removes {version} from status.storedVersions"
            errors.append(invalid_value(f"{at}[{i}]", version, text))
    return errors


def check_definition_update(new: Obj, old: Obj) -> list[FieldError]:
    """Once it is served, a definition keeps its group, scope and plural."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors = immutable(after.get("group"), before.get("group"), "spec.group")
    errors += immutable(after.get("scope"), before.get("scope"), "spec.scope")
    plural, had = (s.get("names", {}).get("plural") for s in (after, before))
    return errors + immutable(plural, had, "spec.names.plural")
