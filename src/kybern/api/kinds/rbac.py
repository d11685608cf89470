"""ClusterRoleBinding, ClusterRole, RoleBinding, Role."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

CLUSTER_ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    namespaced=False,
    strategy=Strategy(namespaced=False, allow_create_on_update=True),
)

CLUSTER_ROLE = Kind(
    group="rbac.authorization.k8s.io",
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    strategy=Strategy(namespaced=False, allow_create_on_update=True),
)

ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io",
    kind="RoleBinding",
    plural="rolebindings",
    strategy=Strategy(allow_create_on_update=True),
)

ROLE = Kind(
    group="rbac.authorization.k8s.io",
    kind="Role",
    plural="roles",
    strategy=Strategy(allow_create_on_update=True),
)
