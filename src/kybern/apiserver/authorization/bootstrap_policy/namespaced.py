"""The roles that hold in one namespace only, and who has them."""

from kybern.api.errors import Obj
from kybern.apiserver.authorization.bootstrap_policy.rules import allow

_LEADER_LOCK = [
    allow("create get list update watch", "coordination.k8s.io", "leases"),
    allow("create get list update watch", "coordination.k8s.io", "leasecandidates"),
]
_EVENTS = allow("create patch update", "core events.k8s.io", "events")

ROLES: dict[tuple[str, str], list[Obj]] = {
    ("kube-public", "system:controller:bootstrap-signer"): [
        allow("get list watch", "core", "configmaps"),
        allow("update", "core", "configmaps", "cluster-info"),
        _EVENTS,
    ],
    ("kube-system", "extension-apiserver-authentication-reader"): [
        allow("get list watch", "core", "configmaps", "extension-apiserver-authentication"),
    ],
    ("kube-system", "system::leader-locking-kube-controller-manager"): _LEADER_LOCK,
    ("kube-system", "system::leader-locking-kube-scheduler"): _LEADER_LOCK,
    ("kube-system", "system:controller:bootstrap-signer"): [
        allow("get list watch", "core", "secrets"),
    ],
    ("kube-system", "system:controller:cloud-provider"): [
        allow("create get list watch", "core", "configmaps"),
    ],
    ("kube-system", "system:controller:token-cleaner"): [
        allow("delete get list watch", "core", "secrets"),
        _EVENTS,
    ],
}

# (namespace, binding) to the role's name and the subjects: users plainly, service accounts of
# kube-system after "sa:".
ROLE_BINDINGS: dict[tuple[str, str], tuple[str, list[str]]] = {
    ("kube-public", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        ["sa:bootstrap-signer"],
    ),
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        ["system:kube-controller-manager", "system:kube-scheduler"],
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager",
        [
            "system:kube-controller-manager",
            "sa:kube-controller-manager",
            "sa:leader-election-controller",
        ],
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler",
        ["system:kube-scheduler", "sa:kube-scheduler"],
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        ["sa:bootstrap-signer"],
    ),
    ("kube-system", "system:controller:cloud-provider"): (
        "system:controller:cloud-provider",
        ["sa:cloud-provider"],
    ),
    ("kube-system", "system:controller:token-cleaner"): (
        "system:controller:token-cleaner",
        ["sa:token-cleaner"],
    ),
}
