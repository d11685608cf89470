"""The bootstrap policy gives components and people what they need, and reconciles gently."""

import pytest
from objects_lookup import ObjectsLookup

from kybern.api.errors import Obj
from kybern.api.user import UserInfo
from kybern.apiserver.authorization import bootstrap_policy
from kybern.apiserver.authorization.rbac import RbacAuthorizer
from kybern.apiserver.authorization.reconcile import merged_binding, merged_role
from kybern.apiserver.request_info import Attributes


def everything() -> list[Obj]:
    return [
        *bootstrap_policy.cluster_roles(),
        *bootstrap_policy.cluster_role_bindings(),
        *bootstrap_policy.roles(),
        *bootstrap_policy.role_bindings(),
    ]


@pytest.fixture(scope="module")
def rbac() -> RbacAuthorizer:
    return RbacAuthorizer(ObjectsLookup(*everything()))


@pytest.mark.parametrize(
    ("allowed", "user", "groups", "verb", "group", "resource", "namespace"),
    [
        (True, "system:kube-scheduler", (), "create", "", "pods/binding", "x"),
        (
            True,
            "system:kube-scheduler",
            (),
            "update",
            "coordination.k8s.io",
            "leases",
            "kube-system",
        ),
        (False, "system:kube-scheduler", (), "get", "", "secrets", "x"),
        (True, "system:kube-controller-manager", (), "create", "", "serviceaccounts/token", "x"),
        (True, "system:kube-proxy", (), "watch", "discovery.k8s.io", "endpointslices", ""),
        (
            True,
            "system:serviceaccount:kube-system:deployment-controller",
            (),
            "create",
            "apps",
            "replicasets",
            "x",
        ),
        (
            False,
            "system:serviceaccount:kube-system:deployment-controller",
            (),
            "create",
            "",
            "secrets",
            "x",
        ),
        (True, "eve", ("system:masters",), "delete", "apps", "deployments", "x"),
        (
            True,
            "eve",
            ("system:authenticated",),
            "create",
            "authorization.k8s.io",
            "selfsubjectaccessreviews",
            "",
        ),
        (False, "eve", ("system:authenticated",), "list", "", "pods", "x"),
    ],
)
def test_who_may_what(
    rbac: RbacAuthorizer,
    allowed: bool,
    user: str,
    groups: tuple[str, ...],
    verb: str,
    group: str,
    resource: str,
    namespace: str,
) -> None:
    plural, _, subresource = resource.partition("/")
    attributes = Attributes(
        UserInfo(user, groups),
        verb,
        group=group,
        resource=plural,
        subresource=subresource,
        namespace=namespace,
    )
    assert rbac.decide(attributes).allowed is allowed


@pytest.mark.parametrize(("allowed", "path"), [(True, "/healthz"), (False, "/metrics")])
def test_anonymous_sees_health_only(rbac: RbacAuthorizer, allowed: bool, path: str) -> None:
    anonymous = UserInfo("system:anonymous", ("system:unauthenticated",))
    attributes = Attributes(anonymous, "get", is_resource_request=False, path=path)
    assert rbac.decide(attributes).allowed is allowed


def test_the_counts_are_upstreams_but_for_what_is_kyberns_own() -> None:
    lists = [
        bootstrap_policy.cluster_roles(),
        bootstrap_policy.cluster_role_bindings(),
        bootstrap_policy.roles(),
        bootstrap_policy.role_bindings(),
    ]
    own = [[o for o in one if o["metadata"]["name"].startswith("system:kybern:")] for one in lists]
    assert [len(all_) - len(ours) for all_, ours in zip(lists, own, strict=True)] == [69, 50, 7, 7]
    assert [len(ours) for ours in own] == [2, 1, 0, 0]


def test_reconciling_adds_and_keeps() -> None:
    wanted = next(
        r for r in bootstrap_policy.cluster_roles() if r["metadata"]["name"] == "system:basic-user"
    )
    extra = {"verbs": ["get"], "apiGroups": ["x"], "resources": ["y"]}
    found = {
        **wanted,
        "metadata": {**wanted["metadata"], "labels": {"mine": "kept"}},
        "rules": [extra],
    }
    merged = merged_role(found, wanted)
    assert merged["rules"][0] == extra
    assert len(merged["rules"]) > 1
    assert merged["metadata"]["labels"] == {
        "mine": "kept",
        "kubernetes.io/bootstrapping": "rbac-defaults",
    }
    assert merged_role(merged, wanted) == merged


def test_reconciling_a_binding_adds_missing_subjects() -> None:
    wanted = next(
        b
        for b in bootstrap_policy.cluster_role_bindings()
        if b["metadata"]["name"] == "system:discovery"
    )
    mine = {"kind": "User", "name": "me"}
    merged = merged_binding({**wanted, "subjects": [mine]}, wanted)
    assert merged["subjects"] == [mine, *wanted["subjects"]]
