"""Validation of the scopes of a resource quota."""

from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.validation.resources import STANDARD_RESOURCES

_SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)
_ONLY_EXISTS = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "CrossNamespacePodAffinity",
)
_PAIRS = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_COMPUTE = frozenset(
    {
        "pods",
        "cpu",
        "memory",
        "requests.cpu",
        "requests.memory",
        "limits.cpu",
        "limits.memory",
        "ephemeral-storage",
        "requests.ephemeral-storage",
        "limits.ephemeral-storage",
    }
)
_CLAIMS = frozenset({"persistentvolumeclaims", "requests.storage"})
_MUST_EXIST = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
    "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
    "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def quota_scopes(spec: Obj) -> list[FieldError]:
    """``scopes`` and ``scopeSelector``: known ones, that go with the resources they limit."""
    hard, scopes = sorted(spec.get("hard") or ()), spec.get("scopes") or []
    errors: list[FieldError] = []
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(invalid_value("spec.scopes", scopes, "unsupported scope"))
        errors += _misapplied(scope, hard, "spec.scopes", scopes)
    errors += _conflicts(scopes, scopes, "spec.scopes")
    selector = spec.get("scopeSelector")
    if selector is not None:
        errors += _selector(selector, hard, scopes)
    return errors


def _selector(selector: Obj, hard: list[str], scopes: list[str]) -> list[FieldError]:
    at, errors = "spec.scopeSelector.matchExpressions", []
    named = []
    for expression in selector.get("matchExpressions") or ():
        scope, operator = expression.get("scopeName", ""), expression.get("operator", "")
        values = expression.get("values") or []
        named.append(scope)
        if scope not in _SCOPES:
            errors.append(invalid_value(f"{at}.scopeName", scope, "unsupported scope"))
        errors += _misapplied(scope, hard, at, _internal(selector))
        if scope in _ONLY_EXISTS and operator != "Exists":
            errors.append(invalid_value(f"{at}.operator", operator, _MUST_EXIST))
        if operator in ("In", "NotIn"):
            if not values:
                text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
                errors.append(required(f"{at}.values", text + "selector"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope "
                errors.append(invalid_value(f"{at}.values", values, text + "selector"))
        else:
            text = "not a valid selector operator"
            errors.append(invalid_value(f"{at}.operator", operator, text))
    return errors + _conflicts(named, scopes, at)


def _internal(selector: Obj) -> Obj:
    """The selector as upstream shows it in errors: its internal type, nulls and all."""
    shown = [
        {
            "ScopeName": expression.get("scopeName", ""),
            "Operator": expression.get("operator", ""),
            "Values": expression.get("values"),
        }
        for expression in selector.get("matchExpressions") or ()
    ]
    return {"MatchExpressions": shown}


def _misapplied(scope: str, hard: list[str], path: str, shown: object) -> list[FieldError]:
    text = "unsupported scope applied to resource"
    wrong = [r for r in hard if r in STANDARD_RESOURCES and not _applies(scope, r)]
    return [invalid_value(path, shown, text) for _ in wrong]


def _applies(scope: str, resource: str) -> bool:
    if scope == "BestEffort":
        return resource == "pods"
    if scope == "VolumeAttributesClass":
        return resource in _CLAIMS
    return resource in _COMPUTE if scope in _SCOPES else True


def _conflicts(named: list[str], shown: list[str], path: str) -> list[FieldError]:
    errors = []
    for one, other in _PAIRS:
        if one in named and other in named:
            errors.append(invalid_value(path, shown, "conflicting scopes"))
    return errors
