"""RBAC: what roles and bindings allow, and that changes of them are seen at once."""

import pytest
from objects_lookup import ObjectsLookup, binding, role, rule

from kybern.api.user import UserInfo
from kybern.apiserver.authorization.authorizer import Authorizers, forbidden_request
from kybern.apiserver.authorization.rbac import RbacAuthorizer
from kybern.apiserver.request_info import Attributes

JANE = UserInfo("jane", ("devs", "system:authenticated"))
BOT = UserInfo("system:serviceaccount:ci:bot", ("system:serviceaccounts",))


def objects() -> ObjectsLookup:
    return ObjectsLookup(
        role("reader", rule("get list", "core", "pods pods/log */scale")),
        role("named", rule("get update", "core", "configmaps", "allowed")),
        role("apps", rule("*", "apps", "*")),
        role("paths", rule("get", paths="/healthz /metrics/*")),
        role("local", rule("delete", "core", "pods"), namespace="default"),
        binding("reader", "reader", "group:devs"),
        binding("named", "named", "user:jane", namespace="default"),
        binding("apps", "apps", "sa:ci/bot"),
        binding("paths", "paths", "user:jane"),
        binding("local", "local", "user:jane", namespace="default", of="Role"),
        binding("dangling", "missing", "user:joe"),
    )


def asks(
    user: UserInfo, verb: str, resource: str, namespace: str = "", name: str = "", group: str = ""
) -> Attributes:
    plural, _, subresource = resource.partition("/")
    return Attributes(
        user,
        verb,
        group=group,
        version="v1",
        resource=plural,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


@pytest.mark.parametrize(
    ("allowed", "attributes"),
    [
        (True, asks(JANE, "get", "pods", "default", "web")),
        (True, asks(JANE, "list", "pods")),
        (False, asks(JANE, "watch", "pods")),
        (True, asks(JANE, "get", "pods/log", "x", "web")),
        (False, asks(JANE, "get", "pods/exec", "x", "web")),
        (True, asks(JANE, "get", "deployments/scale", "x", "web")),
        (False, asks(JANE, "get", "pods", "x", "web", group="metrics.k8s.io")),
        (True, asks(JANE, "get", "configmaps", "default", "allowed")),
        (False, asks(JANE, "get", "configmaps", "default", "other")),
        (False, asks(JANE, "list", "configmaps", "default")),
        (False, asks(JANE, "get", "configmaps", "kube-system", "allowed")),
        (True, asks(JANE, "delete", "pods", "default", "web")),
        (False, asks(JANE, "delete", "pods", "other", "web")),
        (True, asks(BOT, "deletecollection", "deployments", "x", group="apps")),
        (True, asks(BOT, "patch", "deployments/status", "x", "d", group="apps")),
        (False, asks(BOT, "get", "pods", "x")),
        (False, asks(UserInfo("system:serviceaccount:other:bot"), "get", "pods", group="apps")),
    ],
)
def test_rules_allow_what_they_name(allowed: bool, attributes: Attributes) -> None:
    authorizer = RbacAuthorizer(objects())
    assert authorizer.decide(attributes).allowed is allowed
    # The second answer comes from the kept decisions and must be the same.
    assert authorizer.decide(attributes).allowed is allowed


@pytest.mark.parametrize(
    ("allowed", "path"),
    [(True, "/healthz"), (True, "/metrics/slis"), (False, "/metrics"), (False, "/healthz/x")],
)
def test_paths(allowed: bool, path: str) -> None:
    attributes = Attributes(JANE, "get", is_resource_request=False, path=path)
    assert RbacAuthorizer(objects()).decide(attributes).allowed is allowed


def test_a_decision_about_one_name_is_not_used_for_another() -> None:
    authorizer = RbacAuthorizer(objects())
    assert authorizer.decide(asks(JANE, "get", "configmaps", "default", "allowed")).allowed
    assert not authorizer.decide(asks(JANE, "get", "configmaps", "default", "other")).allowed
    assert authorizer.decide(asks(JANE, "get", "configmaps", "default", "allowed")).allowed


def test_the_reason_names_the_binding() -> None:
    authorizer = RbacAuthorizer(objects())
    pods = authorizer.decide(asks(JANE, "get", "pods"))
    assert pods.reason == (
        'RBAC: allowed by ClusterRoleBinding "reader" of ClusterRole "reader" to Group "devs"'
    )
    local = authorizer.decide(asks(JANE, "delete", "pods", "default", "web"))
    assert local.reason == (
        'RBAC: allowed by RoleBinding "local/default" of Role "local" to User "jane"'
    )
    account = authorizer.decide(asks(BOT, "get", "x", group="apps"))
    assert account.reason.endswith('to ServiceAccount "bot/ci"')


def test_a_binding_to_a_missing_role_is_reported() -> None:
    decision = RbacAuthorizer(objects()).decide(asks(UserInfo("joe"), "get", "pods"))
    expected = 'RBAC: clusterrole.rbac.authorization.k8s.io "missing" not found'
    assert not decision.allowed
    assert decision.reason == expected


def test_changes_hold_from_the_next_request_on() -> None:
    lookup = objects()
    authorizer = RbacAuthorizer(lookup)
    watch = asks(JANE, "watch", "pods")
    assert not authorizer.decide(watch).allowed
    lookup.put(role("reader", rule("get watch", "core", "pods")))
    assert authorizer.decide(watch).allowed
    lookup.drop(binding("reader", "reader", "group:devs"))
    assert not authorizer.decide(watch).allowed
    lookup.put(binding("again", "reader", "user:jane", namespace="default"))
    assert not authorizer.decide(watch).allowed
    assert authorizer.decide(asks(JANE, "watch", "pods", "default")).allowed


def test_a_binding_that_loses_a_subject_no_longer_counts_for_it() -> None:
    lookup = objects()
    authorizer = RbacAuthorizer(lookup)
    lookup.put(binding("reader", "reader", "group:ops"))
    assert not authorizer.decide(asks(JANE, "get", "pods")).allowed
    ops = UserInfo("olga", ("ops",))
    assert authorizer.decide(asks(ops, "get", "pods")).allowed


def test_masters_may_do_anything() -> None:
    authorizers = Authorizers([RbacAuthorizer(ObjectsLookup())])
    assert authorizers.decide(asks(UserInfo("root", ("system:masters",)), "x", "y")).allowed


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            asks(JANE, "list", "pods", "default"),
            'pods is forbidden: User "jane" cannot list resource "pods" in API group "" '
            'in the namespace "default"',
        ),
        (
            asks(JANE, "get", "deployments/scale", "default", "web", group="apps"),
            'deployments.apps "web" is forbidden: User "jane" cannot get resource '
            '"deployments/scale" in API group "apps" in the namespace "default"',
        ),
        (
            asks(JANE, "get", "nodes", name="n1"),
            'nodes "n1" is forbidden: User "jane" cannot get resource "nodes" in API group "" '
            "at the cluster scope",
        ),
        (
            Attributes(JANE, "get", is_resource_request=False, path="/metrics"),
            'forbidden: User "jane" cannot get path "/metrics"',
        ),
    ],
)
def test_a_refusal_is_worded_like_upstreams(attributes: Attributes, message: str) -> None:
    error = forbidden_request(attributes, "")
    assert (error.code, error.reason, error.message) == (403, "Forbidden", message)
