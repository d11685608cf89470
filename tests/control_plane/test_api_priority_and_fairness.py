"""Priority and fairness in a running server: objects, queues, refusals, headers, dumps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from stalled_store import StalledStore

from kybern.api import objects
from kybern.api.resources import CONFIG_MAPS
from kybern.api.user import ADMIN, UserInfo
from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.client import Client, ClientResponse
from kybern.component.clock import Clock
from kybern.testing.virtual_time import VirtualClock

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
LEVELS, SCHEMAS = f"{GROUP}/prioritylevelconfigurations", f"{GROUP}/flowschemas"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PATH = CONFIG_MAPS.path("default")
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
MINUTE = 61.0
PATIENCE_SECONDS = 10.0

pytestmark = pytest.mark.virtual_time


class Served:
    """A server of few seats whose creations of config maps stand still until ``store.open``."""

    def __init__(self, config: Config) -> None:
        self.clock: Clock = VirtualClock(1)
        self.store = StalledStore()
        self.server = ApiServer(config, self.store, self.clock)
        self.admin = self.client("kubernetes-admin", *ADMIN.groups)

    def client(self, name: str, *groups: str) -> Client:
        user = UserInfo(name, groups or ("writers", "system:authenticated"))
        return Client.in_process(self.server.handler, user, self.clock)

    async def post(self, path: str, body: Any) -> ClientResponse:
        return await self.admin.request("POST", path, body=body)

    async def text(self, path: str, **query: str) -> str:
        return (await self.admin.request("GET", path, query=query)).body.decode()

    def write(self, client: Client, name: str) -> "asyncio.Task[ClientResponse]":
        body = {"metadata": {"name": name}}
        return asyncio.create_task(client.request("POST", PATH, body=body))

    async def stalled(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.store.waiting < count:
                await asyncio.sleep(0.01)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Ask again and again, on virtual time, until the condition holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await condition():
                await asyncio.sleep(0.01)

    async def queued(self, count: int) -> None:
        """Wait until so many requests of the schema "writers" wait in queues."""
        shown = (
            'apiserver_flowcontrol_current_inqueue_requests{flow_schema="writers",'
            f'priority_level="few"}} {count}'
        )

        async def holds() -> bool:
            return shown in await self.text("/metrics")

        await self.until(holds)

    async def dangles(self, schema: str, expected: bool) -> None:
        """Wait until a schema's condition says whether its priority level is missing."""

        async def holds() -> bool:
            found = (await self.admin.request("GET", f"{SCHEMAS}/{schema}")).json()
            return objects.condition_is(found, "Dangling", str(expected))

        await self.until(holds)


@asynccontextmanager
async def serving(**flags: Any) -> AsyncIterator[Served]:
    served = Served(Config(**flags))
    await served.server.start()
    await served.post(f"{RBAC}/clusterrolebindings", BINDING)
    try:
        yield served
    finally:
        served.store.open.set()
        await served.server.close()


BINDING = {
    "metadata": {"name": "writers"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    },
    "subjects": [{"kind": "Group", "name": "writers", "apiGroup": "rbac.authorization.k8s.io"}],
}


def level(name: str, shares: int, **limited: Any) -> dict[str, Any]:
    held = {"nominalConcurrencyShares": shares, "borrowingLimitPercent": 0, **limited}
    held.setdefault("limitResponse", {"type": "Reject"})
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": held}}


def queuing(queues: int, hand: int, length: int) -> dict[str, Any]:
    settings = {"queues": queues, "handSize": hand, "queueLengthLimit": length}
    return {"limitResponse": {"type": "Queue", "queuing": settings}}


def schema(name: str, level: str, **spec: Any) -> dict[str, Any]:
    rule = {
        "subjects": [{"kind": "Group", "group": {"name": "writers"}}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
        ],
    }
    named = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 10}
    return {"metadata": {"name": name}, "spec": {**named, "rules": [rule], **spec}}


async def test_requests_above_the_limit_are_refused_as_upstream_refuses_them() -> None:
    async with serving(max_requests_inflight=2, max_mutating_requests_inflight=1) as served:
        made = (await served.post(LEVELS, level("few", 1))).json()
        chosen = (await served.post(SCHEMAS, schema("writers", "few"))).json()
        await served.dangles("writers", False)
        jane = served.client("jane")
        held = served.write(jane, "one")
        await served.stalled(1)
        refused = await jane.request("POST", PATH, body={"metadata": {"name": "two"}})
        assert refused.status == 429
        assert refused.body == b"Too many requests, please try again later.\n"
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["content-type"] == "text/plain; charset=utf-8"
        for answer in (refused, None):
            answer = answer or await held_open(served, held)
            assert answer.headers["x-kubernetes-pf-flowschema-uid"] == chosen["metadata"]["uid"]
            assert answer.headers["x-kubernetes-pf-prioritylevel-uid"] == made["metadata"]["uid"]
        metrics = await served.text("/metrics")
        labels = 'flow_schema="writers",priority_level="few"'
        rejected = "apiserver_flowcontrol_rejected_requests_total"
        assert f'{rejected}{{{labels},reason="concurrency-limit"}} 1' in metrics
        assert f"apiserver_flowcontrol_dispatched_requests_total{{{labels}}} 1" in metrics
        assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="few"} 1' in metrics


async def held_open(served: Served, held: "asyncio.Task[ClientResponse]") -> ClientResponse:
    served.store.open.set()
    answer = await held
    assert answer.status == 201
    return answer


async def test_other_levels_are_served_while_one_is_full() -> None:
    async with serving(max_requests_inflight=2, max_mutating_requests_inflight=1) as served:
        await served.post(LEVELS, level("few", 1))
        await served.post(SCHEMAS, schema("writers", "few"))
        held = served.write(served.client("jane"), "one")
        await served.stalled(1)
        assert (await served.client("jane").request("GET", PATH)).status == 429
        assert (await served.admin.request("GET", PATH)).status == 200
        scheduler = served.client("system:kube-scheduler", "system:authenticated")
        assert (await scheduler.request("GET", "/api/v1/nodes")).status == 200
        assert (await served.client("x", "system:unauthenticated").request("GET", "/livez")).status
        await held_open(served, held)


async def test_what_waits_is_shown_and_served_in_turn() -> None:
    async with serving(max_requests_inflight=2, max_mutating_requests_inflight=1) as served:
        await served.post(LEVELS, level("few", 1, **queuing(4, 1, 10)))
        by_user = {"distinguisherMethod": {"type": "ByUser"}}
        await served.post(SCHEMAS, schema("writers", "few", **by_user))
        jane, john = served.client("jane"), served.client("john")
        writes = [served.write(jane, f"jane-{number}") for number in range(5)]
        await served.stalled(1)
        writes.append(served.write(john, "john"))
        await served.queued(5)
        dump = await served.text(
            "/debug/api_priority_and_fairness/dump_requests", includeRequestDetails="1"
        )
        rows = [line for line in dump.splitlines() if line.startswith("few,")]
        assert len(rows) == 6
        assert sum("0001-01-01T00:00:00Z" in row for row in rows) == 5
        levels = await served.text("/debug/api_priority_and_fairness/dump_priority_levels")
        row = next(line for line in levels.splitlines() if line.startswith("few,"))
        assert [cell.strip() for cell in row.split(",")][4:6] == ["5", "1"]
        queues = await served.text("/debug/api_priority_and_fairness/dump_queues")
        assert sum(line.startswith("few,") for line in queues.splitlines()) == 4
        served.store.open.set()
        assert [answer.status for answer in await asyncio.gather(*writes)] == [201] * 6
        listed = (await served.admin.request("GET", PATH)).json()["items"]
        order = sorted(listed, key=lambda item: int(item["metadata"]["resourceVersion"]))
        names = [item["metadata"]["name"] for item in order]
        assert names.index("john") <= 2


async def test_a_request_waits_a_quarter_of_a_minute_at_most() -> None:
    async with serving(max_requests_inflight=2, max_mutating_requests_inflight=1) as served:
        await served.post(LEVELS, level("few", 1, **queuing(1, 1, 10)))
        await served.post(SCHEMAS, schema("writers", "few"))
        jane = served.client("jane")
        held = served.write(jane, "one")
        await served.stalled(1)
        for query, seconds in (({}, 15.0), ({"timeout": "8s"}, 2.0), ({"timeout": "5m"}, 15.0)):
            start = served.clock.monotonic()
            refused = await jane.request("GET", PATH, query=query)
            assert refused.status == 429
            assert served.clock.monotonic() - start == pytest.approx(seconds)
        assert 'reason="time-out"} 3' in await served.text("/metrics")
        await held_open(served, held)


async def test_a_client_that_goes_away_leaves_its_queue() -> None:
    async with serving(max_requests_inflight=2, max_mutating_requests_inflight=1) as served:
        await served.post(LEVELS, level("few", 1, **queuing(1, 1, 1)))
        await served.post(SCHEMAS, schema("writers", "few"))
        jane = served.client("jane")
        held = served.write(jane, "one")
        await served.stalled(1)
        gone = served.write(jane, "gone")
        await served.queued(1)
        assert (await served.write(jane, "no-room")).status == 429
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        last = served.write(jane, "last")
        await held_open(served, held)
        assert (await last).status == 201
        names = {
            item["metadata"]["name"]
            for item in (await served.admin.request("GET", PATH)).json()["items"]
        }
        assert "gone" not in names


async def test_a_deleted_level_dangles_and_its_requests_go_elsewhere() -> None:
    async with serving() as served:
        await served.post(SCHEMAS, schema("writers", "later"))
        await served.dangles("writers", True)
        made = (await served.post(LEVELS, level("later", 1))).json()
        await served.dangles("writers", False)
        answer = await served.client("jane").request("GET", PATH)
        assert answer.headers["x-kubernetes-pf-prioritylevel-uid"] == made["metadata"]["uid"]
        await served.admin.request("DELETE", f"{LEVELS}/later")
        await served.dangles("writers", True)
        answer = await served.client("jane").request("GET", PATH)
        assert answer.headers["x-kubernetes-pf-prioritylevel-uid"] != made["metadata"]["uid"]


async def test_suggested_and_mandatory_objects_are_maintained() -> None:
    async with serving() as served:
        listed = (await served.admin.request("GET", SCHEMAS)).json()["items"]
        assert len(listed) == 11
        await served.admin.request("DELETE", f"{LEVELS}/system")
        await served.admin.request("DELETE", f"{SCHEMAS}/exempt")
        mine = {
            "metadata": {"annotations": {AUTOUPDATE: "false"}},
            "spec": {"matchingPrecedence": 77},
        }
        patched = await served.admin.request(
            "PATCH",
            f"{SCHEMAS}/service-accounts",
            body=mine,
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert patched.status == 200
        theirs = {"spec": {"matchingPrecedence": 78}}
        await served.admin.request(
            "PATCH",
            f"{SCHEMAS}/probes",
            body=theirs,
            headers={"Content-Type": "application/merge-patch+json"},
        )
        old = schema("from-an-older-release", "system")
        old["metadata"]["annotations"] = {AUTOUPDATE: "true"}
        await served.post(SCHEMAS, old)
        await asyncio.sleep(2 * MINUTE)

        async def at(path: str) -> ClientResponse:
            return await served.admin.request("GET", path)

        assert (await at(f"{LEVELS}/system")).status == 200
        assert (await at(f"{SCHEMAS}/exempt")).status == 200
        kept = (await at(f"{SCHEMAS}/service-accounts")).json()
        assert kept["spec"]["matchingPrecedence"] == 77
        assert (await at(f"{SCHEMAS}/probes")).json()["spec"]["matchingPrecedence"] == 2
        assert (await at(f"{SCHEMAS}/from-an-older-release")).status == 404


async def test_it_can_be_switched_off() -> None:
    async with serving(enable_priority_and_fairness=False) as served:
        answer = await served.client("jane").request("GET", PATH)
        assert answer.status == 200
        assert "x-kubernetes-pf-flowschema-uid" not in answer.headers
        dump = "/debug/api_priority_and_fairness/dump_queues"
        assert (await served.admin.request("GET", dump)).status == 404
        assert (await served.admin.request("GET", f"{SCHEMAS}/exempt")).status == 200
