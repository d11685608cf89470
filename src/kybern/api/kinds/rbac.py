"""Roles and their bindings."""

from collections.abc import Callable

from kybern.api.errors import FieldError, Obj, invalid_value, not_supported, required
from kybern.api.kinds.columns import AGE, CREATED_AT, NAME
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.fields import named
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.names import dns_subdomain, is_path_segment

GROUP = "rbac.authorization.k8s.io"


def _default_binding(binding: Obj) -> None:
    role = binding.setdefault("roleRef", {})
    if not role.get("apiGroup"):
        role["apiGroup"] = GROUP
    for subject in binding.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = GROUP


def _role(binding: Obj, now: float) -> str:
    role = binding.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> Callable[[Obj, float], str]:
    def value(binding: Obj, now: float) -> str:
        shown = []
        for subject in binding.get("subjects") or ():
            if subject.get("kind") == kind:
                name = subject.get("name", "")
                is_account = kind == "ServiceAccount"
                shown.append(f"{subject.get('namespace', '')}/{name}" if is_account else name)
        return ", ".join(shown)

    return value


BINDING_COLUMNS = (
    NAME,
    Column("Role", _role),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)


_SUBJECT_KINDS = ("ServiceAccount", "User", "Group")


def _check_rules(role: Obj, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, rule in enumerate(role.get("rules") or ()):
        errors += _check_rule(rule, namespaced, f"rules[{i}]")
    return errors


def _check_rule(rule: Obj, namespaced: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not rule.get("verbs"):
        errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    urls, at = rule.get("nonResourceURLs"), f"{path}.nonResourceURLs"
    if urls:
        if namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            errors.append(invalid_value(at, urls, text))
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid_value(at, urls, text))
        return errors
    if not rule.get("apiGroups"):
        text = "resource rules must supply at least one api group"
        errors.append(required(f"{path}.apiGroups", text))
    if not rule.get("resources"):
        text = "resource rules must supply at least one resource"
        errors.append(required(f"{path}.resources", text))
    return errors


def _check_cluster_role(role: Obj) -> list[FieldError]:
    errors = _check_rules(role, False)
    aggregation = role.get("aggregationRule")
    if aggregation is None:
        return errors
    at, selectors = "aggregationRule.clusterRoleSelectors", aggregation.get("clusterRoleSelectors")
    if not selectors:
        text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        errors.append(required(at, text))
    for i, selector in enumerate(selectors or ()):
        wrong = label_selector(selector, f"{at}[{i}]")
        errors += wrong
        if wrong:
            # Upstream shows what came of the selector, which is nothing.
            errors.append(invalid_value(f"{at}[{i}]", None, "invalid label selector."))
    return errors


def _check_binding(binding: Obj, namespaced: bool) -> list[FieldError]:
    role = binding.get("roleRef") or {}
    errors: list[FieldError] = []
    if role.get("apiGroup") != GROUP:
        errors.append(not_supported("roleRef.apiGroup", role.get("apiGroup", ""), (GROUP,)))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if role.get("kind") not in kinds:
        errors.append(not_supported("roleRef.kind", role.get("kind", ""), kinds))
    name = role.get("name", "")
    errors += named(is_path_segment(name), name, "roleRef.name")
    if not name:
        errors.append(required("roleRef.name"))
    for i, subject in enumerate(binding.get("subjects") or ()):
        errors += _check_subject(subject, namespaced, f"subjects[{i}]")
    return errors


def _check_subject(subject: Obj, namespaced: bool, path: str) -> list[FieldError]:
    name, kind, group = (subject.get(f, "") for f in ("name", "kind", "apiGroup"))
    errors = [] if name else [required(f"{path}.name")]
    if kind == "ServiceAccount":
        if name:
            errors += named(dns_subdomain(name), name, f"{path}.name")
        if group:
            errors.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errors.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.append(not_supported(f"{path}.apiGroup", group, (GROUP,)))
    else:
        errors.append(not_supported(f"{path}.kind", kind, _SUBJECT_KINDS))
    return errors


def _same_role(new: Obj, old: Obj) -> list[FieldError]:
    """A binding grants one role for life; what it grants is clear from the day it is made."""
    if new.get("roleRef") == old.get("roleRef"):
        return []
    role = new.get("roleRef") or {}
    shown = {part[0].upper() + part[1:]: role.get(part, "") for part in ("kind", "name")}
    shown = {"APIGroup": role.get("apiGroup", ""), **shown}
    return [invalid_value("roleRef", shown, "cannot change roleRef")]


CLUSTER_ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    namespaced=False,
    strategy=Strategy(
        metadata_checks=2,
        check=lambda o: _check_binding(o, False),
        check_update=_same_role,
        default=_default_binding,
        name_rule=is_path_segment,
        namespaced=False,
        allow_create_on_update=True,
    ),
    columns=BINDING_COLUMNS,
)

CLUSTER_ROLE = Kind(
    group="rbac.authorization.k8s.io",
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    strategy=Strategy(
        metadata_checks=2,
        check=_check_cluster_role,
        name_rule=is_path_segment,
        namespaced=False,
        allow_create_on_update=True,
    ),
    columns=(NAME, CREATED_AT),
)

ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io",
    kind="RoleBinding",
    plural="rolebindings",
    strategy=Strategy(
        metadata_checks=2,
        check=lambda o: _check_binding(o, True),
        check_update=_same_role,
        default=_default_binding,
        name_rule=is_path_segment,
        allow_create_on_update=True,
    ),
    columns=BINDING_COLUMNS,
)

ROLE = Kind(
    group="rbac.authorization.k8s.io",
    kind="Role",
    plural="roles",
    strategy=Strategy(
        metadata_checks=2,
        check=lambda o: _check_rules(o, True),
        name_rule=is_path_segment,
        allow_create_on_update=True,
    ),
    columns=(NAME, CREATED_AT),
)
