"""The FlowSchemas and PriorityLevelConfigurations that every cluster has, as upstream's.

The mandatory ones keep the server usable whatever else is configured; the suggested ones are a
sound division of an ordinary cluster's requests, which people may change.
"""

from collections.abc import Sequence

from kybern.api.errors import Obj
from kybern.api.user import AUTHENTICATED_GROUP, MASTERS_GROUP, UNAUTHENTICATED_GROUP

AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
_API_VERSION = "flowcontrol.apiserver.k8s.io/v1"
_ALL = ["*"]


def _object(kind: str, name: str, spec: Obj) -> Obj:
    metadata = {"name": name, "annotations": {AUTOUPDATE: "true"}}
    return {"apiVersion": _API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _level(name: str, spec: Obj) -> Obj:
    return _object("PriorityLevelConfiguration", name, spec)


def _queuing(name: str, shares: int, lendable: int, queues: int, hand: int) -> Obj:
    queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": 50}
    limited = {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    return _level(name, {"type": "Limited", "limited": limited})


def _groups(*names: str) -> list[Obj]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _users(*names: str) -> list[Obj]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


_SYSTEM_ACCOUNTS: Obj = {
    "kind": "ServiceAccount",
    "serviceAccount": {"namespace": "kube-system", "name": "*"},
}
_EVERYBODY = _groups(UNAUTHENTICATED_GROUP, AUTHENTICATED_GROUP)
_NODES = _groups("system:nodes")
_CONTROLLER_MANAGER = "system:kube-controller-manager"
_SCHEDULER = "system:kube-scheduler"


def _resources(
    groups: list[str], resources: list[str], verbs: list[str], *, cluster_scope: bool
) -> Obj:
    rule: Obj = {
        "verbs": verbs,
        "apiGroups": groups,
        "resources": resources,
        "namespaces": _ALL,
    }
    return {**rule, "clusterScope": True} if cluster_scope else rule


_ANY_RESOURCE = _resources(_ALL, _ALL, _ALL, cluster_scope=True)
_ANY_PATH: Obj = {"verbs": _ALL, "nonResourceURLs": _ALL}


def _schema(
    name: str,
    level: str,
    precedence: int,
    method: str,
    subjects: list[Obj],
    resources: Sequence[Obj] = (_ANY_RESOURCE,),
    paths: Sequence[Obj] = (_ANY_PATH,),
) -> Obj:
    rule: Obj = {"subjects": subjects}
    if resources:
        rule["resourceRules"] = list(resources)
    if paths:
        rule["nonResourceRules"] = list(paths)
    spec: Obj = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    if method:
        spec["distinguisherMethod"] = {"type": method}
    return _object("FlowSchema", name, spec)


MANDATORY_LEVELS: tuple[Obj, ...] = (
    _level(
        "catch-all",
        {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 5,
                "lendablePercent": 0,
                "limitResponse": {"type": "Reject"},
            },
        },
    ),
    _level(
        "exempt",
        {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    ),
)
MANDATORY_SCHEMAS: tuple[Obj, ...] = (
    _schema("exempt", "exempt", 1, "", _groups(MASTERS_GROUP)),
    _schema("catch-all", "catch-all", 10000, "ByUser", _EVERYBODY),
)

SUGGESTED_LEVELS: tuple[Obj, ...] = (
    _queuing("system", 30, 33, 64, 6),
    _queuing("node-high", 40, 25, 64, 6),
    _queuing("leader-election", 10, 0, 16, 4),
    _queuing("workload-high", 40, 50, 128, 6),
    _queuing("workload-low", 100, 90, 128, 6),
    _queuing("global-default", 20, 50, 128, 6),
)
SUGGESTED_SCHEMAS: tuple[Obj, ...] = (
    _schema("system-nodes", "system", 500, "ByUser", _NODES),
    _schema(
        "system-node-high",
        "node-high",
        400,
        "ByUser",
        _NODES,
        (
            _resources([""], ["nodes", "nodes/status"], _ALL, cluster_scope=True),
            _resources(["coordination.k8s.io"], ["leases"], _ALL, cluster_scope=False),
        ),
        (),
    ),
    _schema(
        "probes",
        "exempt",
        2,
        "",
        _EVERYBODY,
        (),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},),
    ),
    _schema(
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        [*_users(_CONTROLLER_MANAGER, _SCHEDULER), _SYSTEM_ACCOUNTS],
        (
            _resources(
                ["coordination.k8s.io"],
                ["leases"],
                ["get", "create", "update"],
                cluster_scope=False,
            ),
        ),
        (),
    ),
    _schema(
        "kube-controller-manager",
        "workload-high",
        800,
        "ByNamespace",
        _users(_CONTROLLER_MANAGER),
    ),
    _schema("kube-scheduler", "workload-high", 800, "ByNamespace", _users(_SCHEDULER)),
    _schema(
        "kube-system-service-accounts", "workload-high", 900, "ByNamespace", [_SYSTEM_ACCOUNTS]
    ),
    _schema("service-accounts", "workload-low", 9000, "ByUser", _groups("system:serviceaccounts")),
    _schema("global-default", "global-default", 9900, "ByUser", _EVERYBODY),
)
