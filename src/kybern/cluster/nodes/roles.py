"""What a node's agent may do beyond ``system:node``: its proxy and DNS share its identity.

Upstream runs both as pods with service accounts of their own; here they are part of the agent, so
the group of all nodes gets their reading rights, and the right to publish DNS in kube-system.
"""

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from kybern.client.client import Client

NAME = "kybern:node-agent"
_API_GROUP = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_NODES = [{"kind": "Group", "name": "system:nodes", "apiGroup": _API_GROUP}]


def objects() -> list[tuple[Resource, Obj]]:
    """The roles and bindings, in the order in which they are made."""
    everywhere = [
        {"apiGroups": [""], "resources": ["nodes", "services", "namespaces"], "verbs": _READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    ]
    publishing = [
        {"apiGroups": [""], "resources": ["services"], "verbs": ["create"]},
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["create", "update"],
        },
    ]
    return [
        (CLUSTER_ROLES, _role("ClusterRole", everywhere)),
        (CLUSTER_ROLE_BINDINGS, _binding("ClusterRoleBinding", "ClusterRole")),
        (ROLES, _role("Role", publishing)),
        (ROLE_BINDINGS, _binding("RoleBinding", "Role")),
    ]


def _object(kind: str) -> Obj:
    meta = {"name": NAME}
    if not kind.startswith("Cluster"):
        meta["namespace"] = "kube-system"
    return {"apiVersion": f"{_API_GROUP}/v1", "kind": kind, "metadata": meta}


def _role(kind: str, rules: list[Obj]) -> Obj:
    return _object(kind) | {"rules": rules}


def _binding(kind: str, role: str) -> Obj:
    reference = {"apiGroup": _API_GROUP, "kind": role, "name": NAME}
    return _object(kind) | {"subjects": _NODES, "roleRef": reference}


async def grant(client: Client) -> None:
    """Make the roles unless they are there; ``client`` is the administrator's."""
    await ensure(client, objects())


async def ensure(client: Client, wanted: list[tuple[Resource, Obj]]) -> None:
    """Make objects, and leave those that are there as somebody may have changed them."""
    for resource, obj in wanted:
        try:
            await client.create(resource, obj, obj["metadata"].get("namespace"))
        except StatusError as error:
            if error.code != 409:
                raise
