"""Who gets in and what they may do, on a whole server: roles, impersonation, reviews, health."""

import pytest
from api_calls import running

from kybern.api.user import UserInfo
from kybern.apiserver.config import Config
from kybern.store.memory import MemoryStore

JANE = UserInfo("jane", ("system:authenticated",))
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"


async def test_every_cluster_has_its_first_objects() -> None:
    async with running() as call:
        namespaces = (await call("GET", "/api/v1/namespaces")).body["items"]
        names = [found["metadata"]["name"] for found in namespaces]
        assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
        classes = (await call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses")).body["items"]
        assert {found["metadata"]["name"]: found["value"] for found in classes} == {
            "system-cluster-critical": 2000000000,
            "system-node-critical": 2000001000,
        }
        cidr = await call("GET", "/apis/networking.k8s.io/v1/servicecidrs/kubernetes")
        assert cidr.body["spec"] == {"cidrs": ["10.96.0.0/16"]}
        assert cidr.body["status"]["conditions"][0]["type"] == "Ready"


async def test_a_restart_repairs_the_policy_and_keeps_what_people_added() -> None:
    store = MemoryStore()
    async with running(store) as call:
        view = (await call("GET", f"{RBAC}/clusterroles/system:basic-user")).body
        mine = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}
        await call("PUT", f"{RBAC}/clusterroles/system:basic-user", {**view, "rules": [mine]})
        await call("DELETE", f"{RBAC}/clusterrolebindings/system:discovery")
    async with running(store) as call:
        rules = (await call("GET", f"{RBAC}/clusterroles/system:basic-user")).body["rules"]
        assert mine in rules
        assert len(rules) > 1
        found = await call("GET", f"{RBAC}/clusterrolebindings/system:discovery")
        assert found.status == 200
    async with running(store) as call:
        # Nothing is left to do, so nothing is written.
        again = (await call("GET", f"{RBAC}/clusterroles/system:basic-user")).body
        assert again["rules"] == rules
    await store.close()


async def test_anonymous_gets_health_and_version_only() -> None:
    async with running() as call:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await call("GET", path, user=None)).status == 200
        refused = await call("GET", "/api/v1/pods", user=None)
        assert refused.status == 403
        assert 'User "system:anonymous" cannot list resource "pods"' in refused.body["message"]
    async with running(config=Config(anonymous_auth=False)) as call:
        assert (await call("GET", "/healthz", user=None)).status == 401


async def test_a_wrong_token_is_not_anonymous() -> None:
    async with running() as call:
        headers = {"authorization": "Bearer nonsense"}
        assert (await call("GET", "/healthz", user=None, headers=headers)).status == 401


async def test_roles_count_from_the_next_request_on() -> None:
    async with running() as call:
        pods = "/api/v1/namespaces/default/pods"
        assert (await call("GET", pods, user=JANE)).status == 403
        rules = [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]
        path = f"{RBAC}/namespaces/default"
        await call.made(f"{path}/roles", {"metadata": {"name": "r"}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
        subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}
        body = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
        await call.made(f"{path}/rolebindings", body)
        assert (await call("GET", pods, user=JANE)).status == 200
        await call("DELETE", f"{path}/rolebindings/b")
        assert (await call("GET", pods, user=JANE)).status == 403


async def test_impersonation() -> None:
    async with running() as call:
        headers = {
            "impersonate-user": "jane",
            "impersonate-group": "devs",
            "impersonate-uid": "7",
            "impersonate-extra-scopes": "view",
        }
        path = f"{AUTHENTICATION}/selfsubjectreviews"
        seen = (await call("POST", path, {}, headers=headers)).body["status"]["userInfo"]
        assert seen == {
            "username": "jane",
            "uid": "7",
            "groups": ["devs", "system:authenticated"],
            "extra": {"scopes": ["view"]},
        }
        refused = await call("POST", path, {}, user=JANE, headers={"impersonate-user": "root"})
        assert refused.status == 403
        assert (
            'User "jane" cannot impersonate-on:user-info:create resource' in refused.body["message"]
        )
        account = {"impersonate-user": "system:serviceaccount:default:bot"}
        groups = (await call("POST", path, {}, headers=account)).body["status"]["userInfo"][
            "groups"
        ]
        assert "system:serviceaccounts:default" in groups
        nobody = await call("POST", path, {}, headers={"impersonate-group": "x"})
        assert nobody.status == 400


@pytest.mark.parametrize(
    ("user", "groups", "allowed"),
    [
        ("jane", [], False),
        ("jane", ["system:masters"], True),
        ("system:kube-scheduler", [], True),
    ],
)
async def test_access_reviews(user: str, groups: list[str], allowed: bool) -> None:
    async with running() as call:
        resource = {"verb": "create", "resource": "pods", "subresource": "binding"}
        spec = {"user": user, "groups": groups, "resourceAttributes": resource}
        answer = await call.made(f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec})
        assert answer["status"]["allowed"] is allowed


async def test_a_rules_review_lists_what_one_holds() -> None:
    async with running() as call:
        body = {"spec": {"namespace": "default"}}
        answer = await call("POST", f"{AUTHORIZATION}/selfsubjectrulesreviews", body, user=JANE)
        status = answer.body["status"]
        resources = [rule["resources"] for rule in status["resourceRules"]]
        assert ["selfsubjectaccessreviews", "selfsubjectrulesreviews"] in resources
        assert status["incomplete"] is False


async def test_health_in_detail() -> None:
    async with running() as call:
        verbose = (await call("GET", "/readyz", query="verbose")).body["text"]
        assert "[+]ping ok\n" in verbose
        assert verbose.endswith("readyz check passed\n")
        excluded = (await call("GET", "/livez", query="verbose&exclude=etcd&exclude=no")).body[
            "text"
        ]
        assert "[+]etcd excluded: ok\n" in excluded
        assert 'cannot be excluded: no matches for "no"' in excluded
        assert (await call("GET", "/livez/ping")).body == {"text": "ok"}
        assert (await call("GET", "/livez/nothing")).status == 404
        await call.server.caches.close()
        failed = await call("GET", "/livez")
        assert failed.status == 500
        assert "[-]etcd failed: reason withheld\n" in failed.body["text"]


async def test_metrics_count_requests_and_objects() -> None:
    async with running() as call:
        for _ in range(3):
            await call("GET", "/api/v1/namespaces/default/configmaps", user=JANE)
        assert (await call("GET", "/metrics", user=JANE)).status == 403
        lines = (await call("GET", "/metrics")).body["text"].splitlines()
        resource = 'group="",resource="configmaps",scope="namespace",subresource=""'
        labels = f'component="apiserver",{resource},verb="LIST",version="v1"'
        counted = f'code="403",component="apiserver",dry_run="",{resource},verb="LIST",version="v1"'
        assert f"apiserver_request_total{{{counted}}} 3" in lines
        assert f"apiserver_request_duration_seconds_count{{{labels}}} 3" in lines
        assert f'apiserver_request_duration_seconds_bucket{{{labels},le="+Inf"}} 3' in lines
        assert 'apiserver_storage_objects{resource="namespaces"} 4' in lines
        assert 'apiserver_resource_objects{group="",resource="namespaces"} 4' in lines
        assert 'apiserver_current_inflight_requests{request_kind="readOnly"} 1' in lines
        assert 'apiserver_current_inflight_requests{request_kind="mutating"} 0' in lines
        assert 'authorization_attempts_total{result="no-opinion"} 4' in lines
        step = 'operation="CREATE",rejected="false",type="validate",le="+Inf"'
        name = "apiserver_admission_step_admission_duration_seconds_bucket"
        assert any(line.startswith(f"{name}{{{step}}}") for line in lines)
        assert any(line.startswith('authentication_attempts{result="success"}') for line in lines)
