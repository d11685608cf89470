"""Which FlowSchema a request matches, how many seats it takes, and where its flow may wait."""

from collections import Counter

import pytest

from kybern.api.user import UserInfo
from kybern.apiserver.flow_control.bootstrap_objects import MANDATORY_SCHEMAS, SUGGESTED_SCHEMAS
from kybern.apiserver.flow_control.retry_after import RetryAfter
from kybern.apiserver.flow_control.schemas import FlowSchema
from kybern.apiserver.flow_control.shuffle_sharding import deal, flow_hash
from kybern.apiserver.flow_control.work import ONE_SEAT, Work, estimate, work
from kybern.apiserver.request_info import RequestInfo, request_info
from kybern.component.http.messages import Request

EVERYBODY = "system:authenticated"
SCHEMAS = sorted(
    map(FlowSchema, (*MANDATORY_SCHEMAS, *SUGGESTED_SCHEMAS)),
    key=lambda schema: (schema.precedence, schema.name),
)
NODE = UserInfo("system:node:a", ("system:nodes", EVERYBODY))
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x"
PODS = "/api/v1/namespaces/default/pods"
SYSTEM_ACCOUNT = UserInfo(
    "system:serviceaccount:kube-system:x", ("system:serviceaccounts", EVERYBODY)
)
ACCOUNT = UserInfo("system:serviceaccount:default:x", ("system:serviceaccounts", EVERYBODY))


@pytest.mark.parametrize(
    ("user", "method", "path", "schema"),
    [
        (UserInfo("root", ("system:masters", EVERYBODY)), "GET", PODS, "exempt"),
        (UserInfo("jane", (EVERYBODY,)), "GET", "/livez/ping", "probes"),
        (UserInfo("jane", (EVERYBODY,)), "GET", "/version", "global-default"),
        (UserInfo("jane", (EVERYBODY,)), "GET", PODS, "global-default"),
        (NODE, "PUT", LEASES, "system-node-high"),
        (NODE, "PATCH", "/api/v1/nodes/a/status", "system-node-high"),
        (NODE, "GET", PODS, "system-nodes"),
        (UserInfo("system:kube-scheduler", (EVERYBODY,)), "PUT", LEASES, "system-leader-election"),
        (UserInfo("system:kube-scheduler", (EVERYBODY,)), "GET", PODS, "kube-scheduler"),
        (SYSTEM_ACCOUNT, "GET", LEASES, "system-leader-election"),
        (SYSTEM_ACCOUNT, "DELETE", LEASES, "kube-system-service-accounts"),
        (ACCOUNT, "GET", LEASES, "service-accounts"),
        (UserInfo("nobody"), "GET", PODS, None),
    ],
)
def test_the_first_schema_by_precedence_takes_the_request(
    user: UserInfo, method: str, path: str, schema: str | None
) -> None:
    info = request_info(Request(method, path))
    found = next((one.name for one in SCHEMAS if one.matches(user, info)), None)
    assert found == schema


def test_a_subresource_is_not_its_resource() -> None:
    info = request_info(Request("GET", "/api/v1/nodes/a/proxy"))
    assert next(one.name for one in SCHEMAS if one.matches(NODE, info)) == "system-nodes"


def test_flows_are_told_apart_by_user_or_namespace() -> None:
    by_name = {schema.name: schema for schema in SCHEMAS}
    info, user = request_info(Request("GET", PODS)), UserInfo("jane")
    assert by_name["global-default"].distinguisher(user, info) == "jane"
    assert by_name["kube-scheduler"].distinguisher(user, info) == "default"
    assert by_name["exempt"].distinguisher(user, info) == ""


def test_hands_have_different_cards_and_are_spread_evenly() -> None:
    seen: Counter[int] = Counter()
    for number in range(2000):
        hand = deal(flow_hash("schema", str(number)), 16, 4)
        assert len(set(hand)) == 4
        seen.update(hand)
    assert set(seen) == set(range(16))
    assert max(seen.values()) < 1.3 * min(seen.values())


def test_every_hand_can_be_dealt() -> None:
    assert {deal(number, 4, 2) for number in range(12)} == {
        (a, b) for a in range(4) for b in range(4) if a != b
    }


class Stored:
    """A resource of so many objects, bytes and watchers."""

    def __init__(self, objects: int = 0, size: int = 0, watchers: int = 0) -> None:
        self._size = (objects, size)
        self._watchers = watchers

    def size(self, info: RequestInfo) -> tuple[int, int]:
        return self._size

    def watchers(self, info: RequestInfo) -> int:
        return self._watchers


BIG = Stored(1000, 3_000_000)


@pytest.mark.parametrize(
    ("method", "target", "stored", "expected"),
    [
        ("GET", PODS, Stored(), ONE_SEAT),
        ("GET", PODS, Stored(100, 250_000), work(3)),
        ("GET", PODS, BIG, work(10)),
        ("GET", PODS + "?limit=50", BIG, work(2)),
        ("GET", PODS + "?fieldSelector=metadata.name=a", BIG, ONE_SEAT),
        ("GET", PODS + "?watch=1", BIG, work(10)),
        ("GET", PODS + "?watch=1&resourceVersion=7", BIG, ONE_SEAT),
        ("GET", PODS + "?watch=1&resourceVersion=7&sendInitialEvents=true", BIG, work(10)),
        ("GET", PODS + "/a", BIG, ONE_SEAT),
        ("POST", PODS, Stored(watchers=9), ONE_SEAT),
        ("POST", PODS, Stored(watchers=25), work(1, 3, 0.005)),
        ("PATCH", PODS + "/a", Stored(watchers=400), work(1, 10, 0.02)),
        ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", Stored(watchers=99), ONE_SEAT),
    ],
)
def test_work_is_estimated_from_bytes_and_watchers(
    method: str, target: str, stored: Stored, expected: Work
) -> None:
    path, _, query = target.partition("?")
    assert estimate(request_info(Request(method, path, query)), 0, stored) == expected


def test_one_request_takes_no_more_than_its_level_allows() -> None:
    listing = request_info(Request("GET", PODS))
    assert estimate(listing, 4, BIG) == work(4)
    writing = request_info(Request("DELETE", PODS + "/a"))
    assert estimate(writing, 5, Stored(watchers=400)) == work(1, 5, 0.04)


def test_clients_are_sent_away_for_longer_while_they_keep_coming() -> None:
    held = RetryAfter()
    assert [held.refused(100.0) for _ in range(5)] == [1] * 5
    assert held.refused(101.0) == 2
    for second in (102.0, 103.0):
        assert {held.refused(second) for _ in range(10)} == ({2} if second < 103 else {4})
    assert held.refused(200.0) == 3
    assert held.refused(300.0) == 2
