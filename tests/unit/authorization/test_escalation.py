"""Nobody grants more than they hold, unless they may escalate or bind."""

import pytest
from objects_lookup import ObjectsLookup, binding, role, rule

from kybern.api.errors import Obj, StatusError
from kybern.api.user import UserInfo
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.authorization.escalation import EscalationCheck
from kybern.apiserver.authorization.policy_rules import uncovered
from kybern.apiserver.authorization.rbac import GROUP, RbacAuthorizer

ADMIN = UserInfo("adm", ("admins",))


def check(*more: Obj) -> EscalationCheck:
    lookup = ObjectsLookup(
        role("holder", rule("get list", "core", "pods")),
        role("secrets", rule("get", "core", "secrets")),
        binding("holder", "holder", "user:adm"),
        *more,
    )
    rbac = RbacAuthorizer(lookup)
    return EscalationCheck(Authorizers([rbac]), rbac)


def grants(verb: str, resources: str, names: str = "") -> list[Obj]:
    return [
        role("power", rule(verb, GROUP, resources, names)),
        binding("power", "power", "user:adm"),
    ]


def test_what_one_holds_can_be_granted() -> None:
    wanted = role("r", rule("get", "core", "pods"), namespace="default")
    check().check(ADMIN, "roles", "default", "r", wanted, None)


def test_what_one_does_not_hold_cannot_be_granted() -> None:
    wanted = role("r", rule("get delete", "core", "pods secrets"), namespace="default")
    with pytest.raises(StatusError) as refused:
        check().check(ADMIN, "roles", "default", "r", wanted, None)
    assert refused.value.message == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "adm" (groups=["admins"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}'
    )


def test_who_may_escalate_may_grant_anything() -> None:
    wanted = role("r", rule("*", "*", "*"))
    check(*grants("escalate", "clusterroles")).check(ADMIN, "clusterroles", "", "r", wanted, None)


def test_a_binding_needs_the_rules_of_its_role_or_the_verb_bind() -> None:
    wanted = binding("b", "secrets", "user:eve", namespace="default")
    with pytest.raises(StatusError, match="not currently held"):
        check().check(ADMIN, "rolebindings", "default", "b", wanted, None)
    allowed = check(*grants("bind", "clusterroles", "secrets"))
    allowed.check(ADMIN, "rolebindings", "default", "b", wanted, None)


def test_an_aggregation_rule_needs_full_authority() -> None:
    wanted = role("r") | {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {}}]}}
    with pytest.raises(StatusError, match="must have cluster-admin privileges"):
        check().check(ADMIN, "clusterroles", "", "r", wanted, None)


def test_changes_for_the_garbage_collector_pass() -> None:
    old = role("r", rule("*", "*", "*"))
    new = {**old, "metadata": {**old["metadata"], "finalizers": ["x"]}}
    check().check(ADMIN, "clusterroles", "", "r", new, old)


@pytest.mark.parametrize(
    ("covered", "held", "wanted"),
    [
        (True, rule("*", "*", "*"), rule("get", "apps", "deployments")),
        (True, rule("get", "core", "*/scale"), rule("get", "core", "pods/scale")),
        (False, rule("get", "core", "pods", "a"), rule("get", "core", "pods")),
        (True, rule("get", "core", "pods"), rule("get", "core", "pods", "a")),
        (True, rule("get", paths="/apis/*"), rule("get", paths="/apis/apps")),
        (False, rule("get", paths="/apis/apps"), rule("get", paths="/apis/*")),
        (False, rule("get", "core", "pods"), rule("*", "core", "pods")),
    ],
)
def test_covering(covered: bool, held: Obj, wanted: Obj) -> None:
    assert (uncovered([held], [wanted]) == []) is covered
