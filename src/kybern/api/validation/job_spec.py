"""Validation of a job's spec, in jobs and in the templates of cron jobs."""

from kybern.api.errors import FieldError, Obj, invalid_value, not_supported, required, too_long
from kybern.api.validation.fields import named
from kybern.api.validation.job_policies import failure_policy, success_policy
from kybern.api.validation.names import dns_subdomain, is_http_path
from kybern.api.validation.pod_template import pod_template
from kybern.api.validation.workloads import counts

_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_MODES = ("NonIndexed", "Indexed")
_REPLACEMENTS = ("Failed", "TerminatingOrFailed")
_MAX_PARALLELISM = 100_000
_MANY_COMPLETIONS = 100_000
_MANY_LIMIT = 10_000
_MAX_MANAGER = 63


def job_spec(spec: Obj, path: str) -> list[FieldError]:
    """Everything but the selector, which cron jobs' templates do not have."""
    errors = counts(spec, _COUNTS, path)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        text = "when maxFailedIndexes is specified"
        errors.append(required(f"{path}.backoffLimitPerIndex", text))
    if spec.get("managedBy") is not None:
        errors += _manager(spec["managedBy"], f"{path}.managedBy")
    errors += _mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        errors += failure_policy(spec, f"{path}.podFailurePolicy")
    if spec.get("successPolicy") is not None:
        if spec.get("completionMode") != "Indexed":
            text = "requires indexed completion mode"
            errors.append(invalid_value(f"{path}.successPolicy", spec["successPolicy"], text))
        else:
            errors += success_policy(spec, f"{path}.successPolicy")
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        allowed = _REPLACEMENTS if spec.get("podFailurePolicy") is None else ("Failed",)
        if replacement not in allowed:
            errors.append(not_supported(f"{path}.podReplacementPolicy", replacement, allowed))
    template = spec.get("template") or {}
    errors += pod_template(template, f"{path}.template")
    return errors + _restart_policy(spec, template, f"{path}.template.spec.restartPolicy")


def _manager(manager: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    host, slash, rest = manager.partition("/")
    if not manager:
        errors.append(required(path))
    elif not slash or not host or not rest:
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors.append(invalid_value(path, manager, text))
    else:
        errors += named(dns_subdomain(host), host, path)
        errors += named(is_http_path(rest), rest, path)
    if len(manager) > _MAX_MANAGER:
        errors.append(too_long(path, _MAX_MANAGER))
    return errors


def _mode(spec: Obj, path: str) -> list[FieldError]:
    mode = spec.get("completionMode")
    errors: list[FieldError] = []
    if mode is not None and mode not in _MODES:
        errors.append(not_supported(f"{path}.completionMode", mode, _MODES))
    if mode == "Indexed":
        return errors + _indexed(spec, path)
    if mode in (None, "NonIndexed"):
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                text = "requires indexed completion mode"
                errors.append(invalid_value(f"{path}.{name}", spec[name], text))
    return errors


def _indexed(spec: Obj, path: str) -> list[FieldError]:
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    failures = spec.get("maxFailedIndexes")
    errors: list[FieldError] = []
    if completions is None:
        errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism > _MAX_PARALLELISM:
        text = f"must be less than or equal to {_MAX_PARALLELISM} when completion mode is Indexed"
        errors.append(invalid_value(f"{path}.parallelism", parallelism, text))
    at = f"{path}.maxFailedIndexes"
    if completions is not None and failures is not None and failures > completions:
        errors.append(invalid_value(at, failures, "must be less than or equal to completions"))
    if failures is not None and failures > _MAX_PARALLELISM:
        text = f"must be less than or equal to {_MAX_PARALLELISM}"
        errors.append(invalid_value(at, failures, text))
    per_index = spec.get("backoffLimitPerIndex") is not None
    if per_index and (completions or 0) > _MANY_COMPLETIONS:
        errors += _many_indexes(parallelism, failures, path)
    return errors


def _many_indexes(parallelism: int, failures: int | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    at = f"{path}.maxFailedIndexes"
    text = f"must be less than or equal to {_MANY_LIMIT} when completions are above "
    text += f"{_MANY_COMPLETIONS} and used with backoff limit per index"
    if failures is None:
        needed = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        errors.append(required(at, needed))
    if parallelism > _MANY_LIMIT:
        errors.append(invalid_value(f"{path}.parallelism", parallelism, text))
    if failures is not None and failures > _MANY_LIMIT:
        errors.append(invalid_value(at, failures, text))
    return errors


def _restart_policy(spec: Obj, template: Obj, path: str) -> list[FieldError]:
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    if policy in ("", "Always"):
        return [required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(path, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        return [invalid_value(path, policy, text)]
    return []
