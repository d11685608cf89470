"""Validation of CustomResourceDefinitions.

Upstream keeps what all versions have in common at the top of its internal form, and reports errors
there; so a definition with one version gets paths such as ``spec.validation``.
"""

from urllib.parse import urlsplit

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.objects import condition
from kybern.api.validation.fields import named
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import is_dns1035_label, is_dns1123_subdomain
from kybern.api.validation.structural_schema import structural_schema
from kybern.api.validation.webhooks import client_config, review_versions

SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MAX_WARNING = 256
_APPROVED = "api-approved.kubernetes.io"
_SIMPLE_PATH = "must be a simple json path starting with ."
_MIXED_CASE = "may have mixed case, but should otherwise match: "
_ONE_STORAGE = "must have exactly one version marked as storage version"


def _definition(crd: Obj) -> list[FieldError]:
    """Errors of a whole definition, beside those of its metadata."""
    spec = crd.get("spec") or {}
    names, group, scope = spec.get("names") or {}, spec.get("group", ""), spec.get("scope", "")
    errors: list[FieldError] = []
    errors += _group(group)
    if not scope:
        errors.append(required("spec.scope"))
    elif scope not in SCOPES:
        errors.append(not_supported("spec.scope", scope, SCOPES))
    errors += _versions(spec.get("versions") or [])
    errors += _names(names)
    errors += _conversion(spec.get("conversion") or {})
    return errors + _stored_versions(crd, spec)


def check_new_definition(crd: Obj) -> list[FieldError]:
    """Errors of a definition at its creation, when its name counts too."""
    spec, metadata = crd.get("spec") or {}, crd["metadata"]
    errors = _definition(crd)
    name, group = metadata.get("name", ""), spec.get("group", "")
    if name and name != f"{(spec.get('names') or {}).get('plural', '')}.{group}":
        text = 'must be spec.names.plural+"."+spec.group'
        errors.append(invalid_value("metadata.name", name, text))
    return errors + _approval(metadata, group)


def _group(group: str) -> list[FieldError]:
    if not group:
        return [required("spec.group")]
    wrong = is_dns1123_subdomain(group)
    if wrong:
        return [invalid_value("spec.group", group, ",".join(wrong))]
    if "." not in group:
        text = "should be a domain with at least one dot"
        return [invalid_value("spec.group", group, text)]
    return []


def _approval(metadata: Obj, group: str) -> list[FieldError]:
    """Groups of the Kubernetes community need a word on who approved of the API."""
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return []
    held = (metadata.get("annotations") or {}).get(_APPROVED, "")
    at = f"metadata.annotations[{_APPROVED}]"
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    text = f'protected groups must have approval annotation "{_APPROVED}"'
    if not held:
        return [required(at, f"{text}, {see}")]
    url = urlsplit(held)
    if held.startswith("unapproved") or (url.scheme and url.netloc):
        return []
    text += ' with either a URL or a reason starting with "unapproved"'
    return [invalid_value(at, held, f"{text}, {see}")]


def _versions(versions: list[Obj]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    stored = sum(bool(version.get("storage")) for version in versions)
    repeated = False
    for i, version in enumerate(versions):
        name, at = version.get("name", ""), f"spec.versions[{i}]"
        repeated = repeated or name in seen
        seen.add(name)
        errors += _label(name, f"{at}.name")
        errors += _deprecation(version, f"{at}.deprecationWarning")
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            errors.append(required(f"{at}.schema.openAPIV3Schema"))
    if versions and versions[0].get("name"):
        errors += _label(versions[0]["name"], "spec.version")
    errors += _version_details(versions)
    if repeated:
        text = "must contain unique version names"
        errors.append(invalid_value("spec.versions", versions, text))
    if stored != 1:
        errors.append(invalid_value("spec.versions", versions, _ONE_STORAGE))
    return errors


def _label(value: str, path: str) -> list[FieldError]:
    wrong = is_dns1035_label(value)
    return [invalid_value(path, value, ",".join(wrong))] if wrong else []


def _deprecation(version: Obj, path: str) -> list[FieldError]:
    text = version.get("deprecationWarning")
    if text is None:
        return []
    wrong: list[str] = []
    if not version.get("deprecated"):
        return [invalid_value(path, text, "can only be set for deprecated versions")]
    if len(text.encode()) > _MAX_WARNING:
        wrong.append(f"must be <= {_MAX_WARNING} characters long")
    if not text:
        wrong.append("must not be an empty string")
    odd = next((i for i, character in enumerate(text) if not character.isprintable()), None)
    if odd is not None:
        what = "must only contain printable UTF-8 characters; non-printable character found at"
        wrong.append(f"{what} index {odd}")
    return named(wrong, text, path)


def _version_details(versions: list[Obj]) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, shared, check in (
        ("schema", "spec.validation", _schema),
        ("subresources", "spec.subresources", _subresources),
        ("additionalPrinterColumns", "spec.additionalPrinterColumns", _columns),
    ):
        values = [version.get(field) or None for version in versions]
        if values and all(value == values[0] for value in values):
            errors += check(values[0], shared)
            continue
        for i, value in enumerate(values):
            errors += check(value, f"spec.versions[{i}].{field}")
    return errors


def _schema(value: Obj | None, path: str) -> list[FieldError]:
    schema = (value or {}).get("openAPIV3Schema")
    return [] if schema is None else structural_schema(schema, f"{path}.openAPIV3Schema")


def _subresources(value: Obj | None, path: str) -> list[FieldError]:
    scale = (value or {}).get("scale")
    if scale is None:
        return []
    errors: list[FieldError] = []
    for field, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        text, at = scale.get(field, ""), f"{path}.scale.{field}"
        if not text:
            errors.append(required(at))
        elif not text.startswith("."):
            errors.append(invalid_value(at, text, _SIMPLE_PATH))
        elif not text.startswith(prefix):
            what = f"should be a json path under {prefix[:-1]}"
            errors.append(invalid_value(at, text, what))
    text, at = scale.get("labelSelectorPath", ""), f"{path}.scale.labelSelectorPath"
    if text and not text.startswith("."):
        errors.append(invalid_value(at, text, _SIMPLE_PATH))
    elif text and not text.startswith((".spec.", ".status.")):
        what = "should be a json path under either .spec or .status"
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
        format_ = column.get("format")
        if format_ and format_ not in _COLUMN_FORMATS:
            text = f"must be one of {','.join(_COLUMN_FORMATS)}"
            errors.append(invalid_value(f"{at}.format", format_, text))
        json_path = column.get("jsonPath", "")
        if not json_path:
            errors.append(required(f"{at}.JSONPath"))
        elif not json_path.startswith("."):
            errors.append(invalid_value(f"{at}.JSONPath", json_path, _SIMPLE_PATH))
    return errors


def _names(names: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("plural", "singular", "kind", "listKind"):
        value, at = names.get(field, ""), f"spec.names.{field}"
        if not value:
            errors.append(required(at))
        elif field in ("plural", "singular"):
            errors += _label(value, at)
        else:
            wrong = is_dns1035_label(value.lower())
            if wrong:
                errors.append(invalid_value(at, value, _MIXED_CASE + ",".join(wrong)))
    for field in ("shortNames", "categories"):
        for i, value in enumerate(names.get(field) or ()):
            errors += _label(value, f"spec.names.{field}[{i}]")
    kind, list_kind = names.get("kind", ""), names.get("listKind", "")
    if kind and kind == list_kind:
        text = "kind and listKind may not be the same"
        errors.append(invalid_value("spec.names.listKind", list_kind, text))
    return errors


def _conversion(conversion: Obj) -> list[FieldError]:
    strategy, at = conversion.get("strategy", ""), "spec.conversion"
    webhook = conversion.get("webhook") or {}
    config, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    errors: list[FieldError] = []
    if not strategy:
        errors.append(required(f"{at}.strategy"))
    elif strategy not in ("None", "Webhook"):
        errors.append(not_supported(f"{at}.strategy", strategy, ("None", "Webhook")))
    if strategy != "Webhook":
        text = "should not be set when strategy is not set to Webhook"
        given = (("webhookClientConfig", config is not None), ("conversionReviewVersions", reviews))
        return errors + [field_forbidden(f"{at}.{name}", text) for name, set_ in given if set_]
    if config is None:
        text = "required when strategy is set to Webhook"
        errors.append(required(f"{at}.webhookClientConfig", text))
    else:
        errors += client_config(config, f"{at}.webhookClientConfig")
    if not reviews:
        return [*errors, required(f"{at}.conversionReviewVersions")]
    return errors + review_versions(reviews, f"{at}.conversionReviewVersions")


def _stored_versions(crd: Obj, spec: Obj) -> list[FieldError]:
    held = (crd.get("status") or {}).get("storedVersions") or []
    at = "status.storedVersions"
    if not held:
        return [invalid_value(at, None, "must have at least one stored version")]
    errors: list[FieldError] = []
    known = set(held)
    for version in spec.get("versions") or ():
        if version.get("storage") and version.get("name") not in known:
            text = f"must have the storage version {version.get('name', '')}"
            errors.append(invalid_value(at, held, text))
        known.discard(version.get("name"))
    for i, version in enumerate(held):
        if version in known and version not in held[i + 1 :]:
            text = (
                "missing from spec.versions; v1 was previously a storage version, and must remain"
            )
            text = text.replace("v1", version)
            text += " in spec.versions until a storage migration ensures no data remains persisted "
            text += f"in {version} and removes {version} from status.storedVersions"
            errors.append(invalid_value(f"{at}[{i}]", version, text))
    return errors


def check_definition_update(new: Obj, old: Obj) -> list[FieldError]:
    """A definition keeps its group and plural, and once it is served also its scope and kind."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    names, had = after.get("names") or {}, before.get("names") or {}
    errors = _definition(new)
    if (condition(old, "Established") or {}).get("status") == "True":
        errors += immutable(after.get("scope", ""), before.get("scope", ""), "spec.scope")
        errors += immutable(names.get("kind", ""), had.get("kind", ""), "spec.names.kind")
    errors += immutable(after.get("group", ""), before.get("group", ""), "spec.group")
    errors += immutable(names.get("plural", ""), had.get("plural", ""), "spec.names.plural")
    annotations = (obj["metadata"].get("annotations") or {} for obj in (new, old))
    approval, approved = (held.get(_APPROVED, "") for held in annotations)
    return errors + (
        _approval(new["metadata"], after.get("group", "")) if approval != approved else []
    )
