"""Roles and their bindings."""

from collections.abc import Callable

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, CREATED_AT, NAME
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.names import is_path_segment

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


CLUSTER_ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    namespaced=False,
    strategy=Strategy(
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
    strategy=Strategy(name_rule=is_path_segment, namespaced=False, allow_create_on_update=True),
    columns=(NAME, CREATED_AT),
)

ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io",
    kind="RoleBinding",
    plural="rolebindings",
    strategy=Strategy(
        default=_default_binding, name_rule=is_path_segment, allow_create_on_update=True
    ),
    columns=BINDING_COLUMNS,
)

ROLE = Kind(
    group="rbac.authorization.k8s.io",
    kind="Role",
    plural="roles",
    strategy=Strategy(name_rule=is_path_segment, allow_create_on_update=True),
    columns=(NAME, CREATED_AT),
)
