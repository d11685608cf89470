"""Validation of admission webhooks and of the resource rules that policies share."""

from urllib.parse import urlsplit

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from kybern.api.validation.fields import named, qualified_name
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.names import between, is_dns1035_label, is_dns1123_subdomain

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_REVIEWS = ("v1", "v1beta1")
_MAX_MATCH_CONDITIONS = 64
_URL_FORM = "; desired format: https://host[/path]"


def webhooks(held: list[Obj], *, mutating: bool) -> list[FieldError]:
    """``webhooks`` of a configuration."""
    errors: list[FieldError] = []
    names: set[str] = set()
    for i, webhook in enumerate(held):
        path, name = f"webhooks[{i}]", webhook.get("name", "")
        errors += _webhook(webhook, mutating, path)
        if name and name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
    return errors


def _webhook(webhook: Obj, mutating: bool, path: str) -> list[FieldError]:
    errors = _domain(webhook.get("name", ""), f"{path}.name")
    for i, rule in enumerate(webhook.get("rules") or ()):
        errors += rule_with_operations(rule, f"{path}.rules[{i}]")
    for field, allowed in (
        ("failurePolicy", ("Fail", "Ignore")),
        ("matchPolicy", ("Equivalent", "Exact")),
    ):
        value = webhook.get(field)
        if value is not None and value not in allowed:
            errors.append(not_supported(f"{path}.{field}", value, allowed))
    effects, allowed = webhook.get("sideEffects"), ("None", "NoneOnDryRun")
    if effects is None:
        text = "must specify one of None, NoneOnDryRun"
        errors.append(required(f"{path}.sideEffects", text))
    elif effects not in allowed:
        errors.append(not_supported(f"{path}.sideEffects", effects, allowed))
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        errors.append(invalid_value(f"{path}.timeoutSeconds", seconds, text))
    for field in ("namespaceSelector", "objectSelector"):
        errors += label_selector(webhook.get(field), f"{path}.{field}")
    again = webhook.get("reinvocationPolicy")
    if mutating and again is not None and again not in ("IfNeeded", "Never"):
        errors.append(not_supported(f"{path}.reinvocationPolicy", again, ("IfNeeded", "Never")))
    errors += client_config(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    errors += match_conditions(webhook.get("matchConditions") or [], f"{path}.matchConditions")
    reviews = webhook.get("admissionReviewVersions") or []
    return errors + review_versions(reviews, f"{path}.admissionReviewVersions")


def _domain(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    wrong = is_dns1123_subdomain(name)
    if wrong:
        return [invalid_value(path, name, ",".join(wrong))]
    if name.count(".") < 2:
        text = "should be a domain with at least three segments separated by dots"
        return [invalid_value(path, name, text)]
    return []


def match_conditions(conditions: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(conditions) > _MAX_MATCH_CONDITIONS:
        errors.append(too_many(path, len(conditions), _MAX_MATCH_CONDITIONS))
    names: set[str] = set()
    for i, condition in enumerate(conditions):
        name = condition.get("name", "")
        if not (condition.get("expression") or "").strip():
            errors.append(required(f"{path}[{i}].expression"))
        if not name:
            errors.append(required(f"{path}[{i}].name"))
            continue
        errors += qualified_name(name, f"{path}[{i}].name")
        if name in names:
            errors.append(duplicate(f"{path}[{i}].name", name))
        names.add(name)
    return errors


def review_versions(versions: list[str], path: str) -> list[FieldError]:
    """The versions of reviews that a webhook understands."""
    if not versions:
        return [required(path, f"must specify one of {', '.join(_REVIEWS)}")]
    errors: list[FieldError] = []
    for i, version in enumerate(versions):
        if version in versions[:i]:
            errors.append(invalid_value(f"{path}[{i}]", version, "duplicate version"))
        else:
            errors += named(is_dns1035_label(version), version, f"{path}[{i}]")
    if not any(version in _REVIEWS for version in versions):
        text = f"must include at least one of {', '.join(_REVIEWS)}"
        errors.append(invalid_value(path, versions, text))
    return errors


def client_config(config: Obj, path: str) -> list[FieldError]:
    """Where a webhook is: a URL or a Service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    if url is not None:
        return _url(url, f"{path}.url")
    return _service(service or {}, f"{path}.service")


def _service(service: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    # Upstream mixes the two up when it names the field, and clients see that on the wire.
    for field, shown in (("namespace", "name"), ("name", "namespace")):
        if not service.get(field):
            errors.append(required(f"{path}.{shown}"))
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        text = f"port is not valid: {between(1, 65535)}"
        errors.append(invalid_value(f"{path}.port", port, text))
    return errors + _service_path(service.get("path") or "", f"{path}.path")


def _service_path(value: str, path: str) -> list[FieldError]:
    """The path of a URL whose segments are DNS names; one slash at its end does no harm."""
    if value in ("", "/"):
        return []
    errors: list[FieldError] = []
    if not value.startswith("/"):
        errors.append(invalid_value(path, value, "must start with a '/'"))
    inner = value[1:] if value == "//" else value[1:].removesuffix("/")
    for i, segment in enumerate(inner.split("/")[: 1 if value == "//" else None]):
        if not segment:
            errors.append(invalid_value(path, value, f"segment[{i}] may not be empty"))
            continue
        for message in is_dns1123_subdomain(segment):
            errors.append(invalid_value(path, value, f"segment[{i}]: {message}"))
    return errors


def _url(url: str, path: str) -> list[FieldError]:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        text = f"url must be a valid URL: {error}{_URL_FORM}"
        return [required(path, text)]
    errors: list[FieldError] = []
    if parts.scheme != "https":
        text = "'https' is the only allowed URL scheme" + _URL_FORM
        errors.append(invalid_value(path, parts.scheme, text))
    if not parts.netloc:
        errors.append(invalid_value(path, "", "host must be specified" + _URL_FORM))
    for wrong, value, what in (
        ("@" in parts.netloc, parts.netloc.partition("@")[0], "user information is not permitted"),
        (bool(parts.fragment), parts.fragment, "fragments are not permitted"),
        (bool(parts.query), parts.query, "query parameters are not permitted"),
    ):
        if wrong:
            errors.append(invalid_value(path, value, f"{what} in the URL"))
    return errors


def rule_with_operations(rule: Obj, path: str) -> list[FieldError]:
    operations, at = rule.get("operations") or [], f"{path}.operations"
    errors: list[FieldError] = []
    if not operations:
        errors.append(required(at))
    if "*" in operations and len(operations) > 1:
        text = "if '*' is present, must not specify other operations"
        errors.append(invalid_value(at, operations, text))
    for i, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            errors.append(not_supported(f"{at}[{i}]", operation, _OPERATIONS))
    for field, shown in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            errors.append(required(f"{path}.{field}"))
        if "*" in values and len(values) > 1:
            text = f"if '*' is present, must not specify other {shown}"
            errors.append(invalid_value(f"{path}.{field}", values, text))
    for i, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            errors.append(required(f"{path}.apiVersions[{i}]"))
    errors += _resources(rule.get("resources") or [], f"{path}.resources")
    scope = rule.get("scope")
    if scope is not None and scope not in _SCOPES:
        errors.append(not_supported(f"{path}.scope", scope, _SCOPES))
    return errors


def _resources(resources: list[str], path: str) -> list[FieldError]:
    if not resources:
        return [required(path)]
    errors: list[FieldError] = []
    for i, text in enumerate(resources):
        resource, slash, sub = text.partition("/")
        if not text:
            errors.append(required(f"{path}[{i}]"))
        if not slash:
            continue
        for whole in (f"{resource}/*", f"*/{sub}"):
            if whole in resources[:i]:
                message = f"if '{whole}' is present, must not specify {text}"
                errors.append(invalid_value(f"{path}[{i}]", text, message))
    if "*/*" in resources and len(resources) > 1:
        message = "if '*/*' is present, must not specify other resources"
        errors.append(invalid_value(path, resources, message))
    # Only the last resource without a subresource counts, which is upstream's way to look.
    plain = [r for r in resources if r and "/" not in r]
    if "*" in plain and plain[-1] != "*":
        message = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid_value(path, resources, message))
    return errors
