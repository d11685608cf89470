"""The roles and bindings that every cluster starts with, under upstream's names.

``bootstrap.py`` brings them into the store at each start (``authorization/reconcile.py``). The
objects built here are complete but for what the server fills in; the caller owns them.
"""

from collections.abc import Collection

from kybern.api.errors import Obj
from kybern.apiserver.authorization.bootstrap_policy.component_roles import COMPONENT_ROLES
from kybern.apiserver.authorization.bootstrap_policy.controller_roles import CONTROLLER_ROLES
from kybern.apiserver.authorization.bootstrap_policy.gated_roles import (
    GATED_BINDINGS,
    GATED_RULES,
)
from kybern.apiserver.authorization.bootstrap_policy.namespaced import ROLE_BINDINGS, ROLES
from kybern.apiserver.authorization.bootstrap_policy.user_roles import USER_ROLES

GROUP = "rbac.authorization.k8s.io"
API_VERSION = f"{GROUP}/v1"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_CONTROLLER = "system:controller:"

# Cluster role (and binding) to its subjects; "group:" and "sa:" mark those that are no users.
_CLUSTER_BINDINGS: dict[str, list[str]] = {
    "cluster-admin": ["group:system:masters"],
    "system:basic-user": ["group:system:authenticated"],
    "system:discovery": ["group:system:authenticated"],
    "system:kube-controller-manager": ["system:kube-controller-manager"],
    "system:kube-dns": ["sa:kube-dns"],
    "system:kybern:explaining-scheduler": ["system:kube-scheduler"],
    "system:kube-scheduler": ["system:kube-scheduler"],
    "system:monitoring": ["group:system:monitoring"],
    # Nodes are judged by the Node authorizer; the binding stays, empty, for those without it.
    "system:node": [],
    "system:node-proxier": ["system:kube-proxy"],
    "system:public-info-viewer": [
        "group:system:authenticated",
        "group:system:unauthenticated",
    ],
    "system:service-account-issuer-discovery": ["group:system:serviceaccounts"],
    "system:volume-scheduler": ["system:kube-scheduler"],
}


def cluster_roles(gates: Collection[str] = ()) -> list[Obj]:
    """The cluster roles where these feature gates are on."""
    bodies = {
        **USER_ROLES,
        **COMPONENT_ROLES,
        **{_CONTROLLER + name: body for name, body in CONTROLLER_ROLES.items()},
    }
    for gate in gates:
        for name, rules in GATED_RULES.get(gate, {}).items():
            body = bodies.get(name, {"rules": []})
            bodies[name] = {**body, "rules": [*body["rules"], *rules]}
    return [_cluster_role(name, body) for name, body in sorted(bodies.items())]


def node_rules(gates: Collection[str] = ()) -> list[Obj]:
    """What nodes may do beside what the graph allows them."""
    return next(
        role["rules"] for role in cluster_roles(gates) if role["metadata"]["name"] == "system:node"
    )


def cluster_role_bindings(gates: Collection[str] = ()) -> list[Obj]:
    bindings = {
        **_CLUSTER_BINDINGS,
        **{_CONTROLLER + name: [f"sa:{name}"] for name in CONTROLLER_ROLES},
    }
    for gate in gates:
        bindings |= GATED_BINDINGS.get(gate, {})
    return [
        _object("ClusterRoleBinding", name) | _grant("ClusterRole", name, subjects)
        for name, subjects in sorted(bindings.items())
    ]


def roles() -> list[Obj]:
    return [
        _object("Role", name, namespace) | {"rules": rules}
        for (namespace, name), rules in sorted(ROLES.items())
    ]


def role_bindings() -> list[Obj]:
    return [
        _object("RoleBinding", name, namespace) | _grant("Role", role, subjects)
        for (namespace, name), (role, subjects) in sorted(ROLE_BINDINGS.items())
    ]


def _object(kind: str, name: str, namespace: str = "") -> Obj:
    metadata: Obj = {
        "name": name,
        "labels": dict(_BOOTSTRAPPING),
        "annotations": {AUTOUPDATE: "true"},
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


def _cluster_role(name: str, body: Obj) -> Obj:
    role = _object("ClusterRole", name)
    role["metadata"]["labels"].update(body.get("labels", {}))
    if "aggregationRule" in body:
        role["aggregationRule"] = body["aggregationRule"]
    role["rules"] = body["rules"]
    return role


def _grant(role_kind: str, role_name: str, subjects: list[str]) -> Obj:
    return {
        "subjects": [_subject(text) for text in subjects],
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role_name},
    }


def _subject(text: str) -> Obj:
    if text.startswith("sa:"):
        return {
            "kind": "ServiceAccount",
            "name": text.removeprefix("sa:"),
            "namespace": "kube-system",
        }
    if text.startswith("group:"):
        return {"kind": "Group", "apiGroup": GROUP, "name": text.removeprefix("group:")}
    return {"kind": "User", "apiGroup": GROUP, "name": text}
