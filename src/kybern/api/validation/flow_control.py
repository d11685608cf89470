"""Validation of FlowSchemas and PriorityLevelConfigurations, which say how requests are queued."""

import math
from collections.abc import Sequence

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.names import dns_label, dns_subdomain

_MAX_PRECEDENCE = 10_000
_MAX_QUEUES = 10_000_000
_MAX_HASH_BITS = 60
_DISTINGUISHERS = ("ByNamespace", "ByUser")
_LEVEL_TYPES = ("Exempt", "Limited")
_RESPONSES = ("Queue", "Reject")
_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)
# Which member of a subject its kind calls for.
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_ANY = "*"


def check_flow_schema(schema: Obj) -> list[FieldError]:
    spec, name = schema.get("spec") or {}, schema["metadata"].get("name", "")
    errors = _precedence(spec.get("matchingPrecedence", 0), name)
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _DISTINGUISHERS:
        shown = {"type": method.get("type", "")}
        errors.append(not_supported("spec.distinguisherMethod.type", shown, _DISTINGUISHERS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    at = "spec.priorityLevelConfiguration.name"
    if not level:
        errors.append(required(at, "must reference a priority level"))
    else:
        errors += [invalid_value(at, level, message) for message in dns_subdomain(level)]
    for i, rule in enumerate(spec.get("rules") or ()):
        errors += _rule(rule, f"spec.rules[{i}]")
    return errors + check_conditions(schema)


def check_conditions(obj: Obj) -> list[FieldError]:
    """The status of both kinds: conditions whose types are given and differ."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        kind, at = condition.get("type", ""), f"status.conditions[{i}].type"
        if kind in seen:
            errors.append(duplicate(at, kind))
        if not kind:
            errors.append(required(at))
        seen.add(kind)
    return errors


def _precedence(value: int, name: str) -> list[FieldError]:
    path = "spec.matchingPrecedence"
    errors: list[FieldError] = []
    if value <= 0:
        errors.append(invalid_value(path, value, "must be a positive value"))
    if value > _MAX_PRECEDENCE:
        errors.append(invalid_value(path, value, f"must not be greater than {_MAX_PRECEDENCE}"))
    if value == 1 and name != "exempt":
        text = "only the schema named 'exempt' may have matchingPrecedence 1"
        errors.append(invalid_value(path, value, text))
    return errors


def _rule(rule: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not rule.get("subjects"):
        errors.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.get("subjects") or ()):
        errors += _subject(subject, f"{path}.subjects[{i}]")
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        text = "at least one of resourceRules and nonResourceRules has to be non-empty"
        errors.append(required(path, text))
    for i, held in enumerate(rule.get("resourceRules") or ()):
        errors += _resource_rule(held, f"{path}.resourceRules[{i}]")
    for i, held in enumerate(rule.get("nonResourceRules") or ()):
        errors += _non_resource_rule(held, f"{path}.nonResourceRules[{i}]")
    return errors


def _subject(subject: Obj, path: str) -> list[FieldError]:
    kind = subject.get("kind", "")
    member = _SUBJECTS.get(kind)
    if member is None:
        return [not_supported(f"{path}.kind", kind, _SUBJECTS)]
    errors: list[FieldError] = []
    held = subject.get(member)
    if held is None:
        text = f"{member} is required when subject kind is '{kind}'"
        errors.append(required(f"{path}.{member}", text))
    else:
        if not held.get("name"):
            errors.append(required(f"{path}.{member}.name"))
        if member == "serviceAccount":
            errors += _service_account(held, f"{path}.{member}")
    for other_kind, other in _SUBJECTS.items():
        if other != member and subject.get(other) is not None:
            text = f"{other} is forbidden when subject kind is not '{other_kind}'"
            errors.append(field_forbidden(f"{path}.{other}", text))
    return errors


def _service_account(account: Obj, path: str) -> list[FieldError]:
    name, namespace = account.get("name", ""), account.get("namespace", "")
    errors: list[FieldError] = []
    if name and name != _ANY:
        errors += [invalid_value(f"{path}.name", name, m) for m in dns_subdomain(name)]
    if not namespace:
        text = "must specify namespace for service account"
        return [*errors, required(f"{path}.namespace", text)]
    return errors + [
        invalid_value(f"{path}.namespace", namespace, message) for message in dns_label(namespace)
    ]


def _verbs(verbs: Sequence[str], path: str) -> list[FieldError]:
    if not verbs:
        return [required(path, "verbs must contain at least one value")]
    if _ANY in verbs:
        return _alone(verbs, path, "verbs")
    if not set(verbs) <= set(_VERBS):
        return [not_supported(path, list(verbs), _VERBS)]
    return []


def _alone(values: Sequence[str], path: str, what: str) -> list[FieldError]:
    """A wildcard that is there stands for everything, so nothing may stand beside it."""
    if _ANY not in values or len(values) == 1:
        return []
    return [invalid_value(path, list(values), f"if '*' is present, must not specify other {what}")]


def _resource_rule(rule: Obj, path: str) -> list[FieldError]:
    errors = _verbs(rule.get("verbs") or (), f"{path}.verbs")
    for name, one, many in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        values = rule.get(name) or ()
        if not values:
            text = f"resource rules must supply at least one {one}"
            errors.append(required(f"{path}.{name}", text))
        errors += _alone(values, f"{path}.{name}", many)
    namespaces, at = rule.get("namespaces") or (), f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        return [*errors, required(at, text)]
    if _ANY in namespaces:
        return errors + _alone(namespaces, at, "namespaces")
    intro = "each member of this list must be '*' or a DNS-1123 label; "
    for i, namespace in enumerate(namespaces):
        for message in dns_label(namespace):
            errors.append(invalid_value(f"{at}[{i}]", namespace, intro + message))
    return errors


def _non_resource_rule(rule: Obj, path: str) -> list[FieldError]:
    errors = _verbs(rule.get("verbs") or (), f"{path}.verbs")
    urls, at = rule.get("nonResourceURLs") or (), f"{path}.nonResourceURLs"
    if not urls:
        text = "nonResourceURLs must contain at least one value"
        return [*errors, required(at, text)]
    if _ANY in urls:
        return errors + _alone(urls, at, "non-resource URLs")
    for i, url in enumerate(urls):
        problem = _url_problem(url)
        if problem:
            errors.append(invalid_value(f"{at}[{i}]", url, problem))
    return errors


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    if stars > 1 or (stars == 1 and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def check_priority_level(level: Obj) -> list[FieldError]:
    spec, name = level.get("spec") or {}, level["metadata"].get("name", "")
    kind = spec.get("type", "")
    limited, exempt = spec.get("limited"), spec.get("exempt")
    errors: list[FieldError] = []
    if (name == "exempt") != (kind == "Exempt"):
        text = "must be 'Exempt' if and only if `name` is 'exempt'"
        errors.append(invalid_value("spec.type", kind, text))
    if kind == "Exempt":
        if limited is not None:
            text = "must be nil if the type is not Limited"
            errors.append(field_forbidden("spec.limited", text))
        errors += _shares(exempt or {}, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            errors.append(field_forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            errors.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            errors += _limited(limited, "spec.limited")
    else:
        errors.append(not_supported("spec.type", kind, _LEVEL_TYPES))
    return errors + _mandatory(name, spec) + check_conditions(level)


def _mandatory(name: str, spec: Obj) -> list[FieldError]:
    """Two levels must stay as the server made them, but for what ``exempt`` lends."""
    if name == "exempt":
        fixed = {key: value for key, value in spec.items() if key != "exempt"}
        if fixed == {"type": "Exempt"}:
            return []
        text = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"
        return [invalid_value("spec", spec, text)]
    if name == "catch-all" and spec != CATCH_ALL_LEVEL:
        text = "spec of 'catch-all' must equal the fixed value"
        return [invalid_value("spec", spec, text)]
    return []


CATCH_ALL_LEVEL: Obj = {
    "type": "Limited",
    "limited": {
        "nominalConcurrencyShares": 5,
        "limitResponse": {"type": "Reject"},
        "lendablePercent": 0,
    },
}


def _shares(held: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    shares, percent = held.get("nominalConcurrencyShares"), held.get("lendablePercent")
    if shares is not None and shares < 0:
        at = f"{path}.nominalConcurrencyShares"
        errors.append(invalid_value(at, shares, "must be a non-negative integer"))
    if percent is not None and not 0 <= percent <= 100:
        at = f"{path}.lendablePercent"
        errors.append(invalid_value(at, percent, "must be between 0 and 100, inclusive"))
    return errors


def _limited(limited: Obj, path: str) -> list[FieldError]:
    errors = _shares(limited, path)
    errors += _response(limited.get("limitResponse") or {}, f"{path}.limitResponse")
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        text = "if specified, must be a non-negative integer"
        errors.append(invalid_value(f"{path}.borrowingLimitPercent", borrowing, text))
    return errors


def _response(response: Obj, path: str) -> list[FieldError]:
    kind, queuing = response.get("type", ""), response.get("queuing")
    if kind == "Reject":
        if queuing is None:
            return []
        text = "must be nil if limited.limitResponse.type is not Limited"
        return [field_forbidden(f"{path}.queuing", text)]
    if kind != "Queue":
        return [not_supported(f"{path}.type", kind, _RESPONSES)]
    if queuing is None:
        text = "must not be empty if limited.limitResponse.type is Limited"
        return [required(f"{path}.queuing", text)]
    return _queuing(queuing, f"{path}.queuing")


def _queuing(queuing: Obj, path: str) -> list[FieldError]:
    length, queues = queuing.get("queueLengthLimit", 0), queuing.get("queues", 0)
    hand = queuing.get("handSize", 0)
    errors: list[FieldError] = []
    if length <= 0:
        errors.append(invalid_value(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        errors.append(invalid_value(f"{path}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        text = f"must not be greater than {_MAX_QUEUES}"
        errors.append(invalid_value(f"{path}.queues", queues, text))
    if hand <= 0:
        errors.append(invalid_value(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        text = f"should not be greater than queues ({queues})"
        errors.append(invalid_value(f"{path}.handSize", hand, text))
    elif _entropy_bits(queues, hand) > _MAX_HASH_BITS:
        text = f"required entropy bits of deckSize {queues} and handSize {hand} should not be "
        text += f"greater than {_MAX_HASH_BITS}"
        errors.append(invalid_value(f"{path}.handSize", hand, text))
    return errors


def _entropy_bits(queues: int, hand: int) -> int:
    """A slightly careful estimate of the bits of hash that dealing a hand of queues takes."""
    return math.ceil(math.log2(queues) * hand)
