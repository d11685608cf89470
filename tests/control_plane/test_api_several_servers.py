"""Two API servers on one etcd: what one has done the other knows, and nothing is lost between."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from api_calls import Answer, Caller, running
from api_lab import POD_SPEC

from etcd_process import Etcd
from kybern.api import protobuf
from kybern.api.errors import Obj
from kybern.api.resources import CONFIG_MAPS, EVENTS
from kybern.api.user import ADMIN
from kybern.apiserver import kubernetes_service
from kybern.apiserver.config import Config
from kybern.apiserver.loopback import Loopback
from kybern.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.rpc.etcd import EtcdClient, proto
from kybern.store.etcd import EtcdStore

CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


@dataclass
class Pair:
    """Two servers, and etcd itself."""

    a: Caller
    b: Caller
    etcd: EtcdClient
    prefix: str

    async def put(self, key: str, value: bytes) -> None:
        """Write as another program does."""
        put = proto.PutRequest(key=key.encode(), value=value)
        request = proto.TxnRequest(success=[proto.RequestOp(request_put=put)])
        await self.etcd.call("KV", "Txn", request, repeatable=True)

    async def value(self, key: str) -> Any:
        request = proto.RangeRequest(key=f"{self.prefix}{key}".encode())
        (found,) = (await self.etcd.call("KV", "Range", request, repeatable=True)).kvs
        return found


@asynccontextmanager
async def server(etcd: Etcd, prefix: str, **flags: Any) -> AsyncIterator[Caller]:
    store = EtcdStore(etcd.client(), root="/registry", prefix=prefix)
    try:
        async with running(store, Config(**flags), Clock()) as caller:
            yield caller
    finally:
        await store.close()


@pytest.fixture
async def pair(etcd: Etcd, etcd_prefix: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(server(etcd, etcd_prefix))
        b = await stack.enter_async_context(server(etcd, etcd_prefix))
        client = etcd.client()
        stack.push_async_callback(client.close)
        account = "/api/v1/namespaces/default/serviceaccounts"
        await a.made(account, {"metadata": {"name": "default"}})
        yield Pair(a, b, client, etcd_prefix)


def named(name: str, **data: str) -> Obj:
    return {"metadata": {"name": name}, "data": data}


async def test_servers_that_start_together_share_the_first_objects(etcd: Etcd) -> None:
    async with AsyncExitStack() as stack:
        servers = await asyncio.gather(
            *(stack.enter_async_context(server(etcd, "/together")) for _ in range(2))
        )
        lists = [
            await caller("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")
            for caller in servers
        ]
    assert lists[0].body == lists[1].body
    assert len(lists[0].body["items"]) > 50


async def test_a_write_through_one_is_read_at_once_through_the_other(pair: Pair) -> None:
    a, b = pair.a, pair.b
    for i in range(20):
        made = await a.made(CM, named(f"c{i}", n="0"))
        assert (await b("GET", f"{CM}/c{i}")).body == made
        assert f"c{i}" in names(await b("GET", CM))
        # The version that the other server has just issued is the one that counts.
        changed = await b("PUT", f"{CM}/c{i}", {**made, "data": {"n": "1"}})
        assert changed.status == 200, changed.body
        stale = await a("PUT", f"{CM}/c{i}", {**made, "data": {"n": "2"}})
        assert (stale.status, stale.body["reason"]) == (409, "Conflict")
        assert (await a("DELETE", f"{CM}/c{i}")).status == 200
        assert (await b("GET", f"{CM}/c{i}")).status == 404


async def test_a_namespace_of_one_takes_objects_through_the_other(pair: Pair) -> None:
    for i in range(5):
        await pair.a.made("/api/v1/namespaces", {"metadata": {"name": f"n{i}"}})
        await pair.b.made(f"/api/v1/namespaces/n{i}/configmaps", named("c"))


async def test_a_token_of_one_is_good_at_the_other_at_once(
    etcd: Etcd, etcd_prefix: str, tmp_path: Path
) -> None:
    pki.load_or_create_key(tmp_path, "sa")
    keys = {
        "service_account_signing_key_file": str(tmp_path / "sa.key"),
        "service_account_key_file": (str(tmp_path / "sa.pub"),),
    }
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with server(etcd, etcd_prefix, **keys) as a, server(etcd, etcd_prefix, **keys) as b:
        for i in range(10):
            await a.made(accounts, {"metadata": {"name": f"s{i}"}})
            issued = await a.made(f"{accounts}/s{i}/token", {"spec": {}})
            bearer = {"authorization": f"Bearer {issued['status']['token']}"}
            who = await b("POST", review, {}, user=None, headers=bearer)
            assert who.body["status"]["userInfo"]["username"].endswith(f":s{i}"), who.body


async def test_changes_through_both_lose_nothing(pair: Pair) -> None:
    await pair.a.made(CM, named("counter", n="0"))

    async def count(caller: Caller, times: int) -> int:
        done = 0
        while done < times:
            found = (await caller("GET", f"{CM}/counter")).body
            found["data"]["n"] = str(int(found["data"]["n"]) + 1)
            answer = await caller("PUT", f"{CM}/counter", found)
            assert answer.status in (200, 409), answer.body
            done += answer.status == 200
        return done

    done = sum(await asyncio.gather(*(count(c, 10) for c in (pair.a, pair.b) for _ in range(2))))
    for caller in (pair.a, pair.b):
        assert (await caller("GET", f"{CM}/counter")).body["data"]["n"] == str(done)


async def test_a_watch_on_one_shows_what_happens_through_the_other(pair: Pair) -> None:
    listed = await pair.b("GET", CM)
    version = listed.body["metadata"]["resourceVersion"]
    client = Client.in_process(pair.b.server.handler, ADMIN, Clock())
    expected: list[tuple[str, str]] = []
    for i in range(10):
        made = await (pair.a, pair.b)[i % 2].made(CM, named(f"c{i}"))
        await (pair.b, pair.a)[i % 2]("PUT", f"{CM}/c{i}", {**made, "data": {"n": "1"}})
        await pair.a("DELETE", f"{CM}/c{i}")
        expected += [("ADDED", f"c{i}"), ("MODIFIED", f"c{i}"), ("DELETED", f"c{i}")]
    seen = []
    async with asyncio.timeout(10):
        async for event in client.watch(CONFIG_MAPS, "default", resource_version=version):
            seen.append((event["type"], event["object"]["metadata"]["name"]))
            if len(seen) == len(expected):
                break
    assert seen == expected


async def test_changes_elsewhere_in_etcd_hold_no_read_up_for_long(pair: Pair) -> None:
    made = await pair.a.made(CM, named("c"))
    await pair.put("/elsewhere", b"")
    async with asyncio.timeout(2):
        assert (await pair.b("GET", f"{CM}/c")).body == made
        assert names(await pair.a("GET", CM)) == ["c"]


async def test_services_through_both_get_addresses_and_ports_of_their_own(pair: Pair) -> None:
    def service(i: int) -> Obj:
        spec = {"type": "NodePort", "ports": [{"port": 80}]}
        return {"metadata": {"name": f"s{i}"}, "spec": spec}

    made = await asyncio.gather(
        *((pair.a if i % 2 else pair.b).made(SERVICES, service(i)) for i in range(20))
    )
    assert len({found["spec"]["clusterIP"] for found in made}) == 20
    ports = {found["spec"]["ports"][0]["nodePort"] for found in made}
    assert len(ports) == 20
    # As a kube-apiserver keeps them: one number, its lowest bit for the first port.
    stored = orjson.loads((await pair.value("/ranges/servicenodeports")).value)
    bitmap = int.from_bytes(base64.b64decode(stored["data"]))
    assert {30000 + i for i in range(2768) if bitmap >> i & 1} == ports


async def test_a_quota_holds_across_both(pair: Pair) -> None:
    quotas = "/api/v1/namespaces/default/resourcequotas"
    hard = {"count/configmaps": "5"}
    made = await pair.a.made(quotas, {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    made["status"] = {"hard": hard, "used": {"count/configmaps": "0"}}
    assert (await pair.a("PUT", f"{quotas}/q/status", made)).status == 200
    answers = await asyncio.gather(
        *((pair.a if i % 2 else pair.b)("POST", CM, named(f"c{i}")) for i in range(20))
    )
    assert sorted(answer.status for answer in answers) == [201] * 5 + [403] * 15


async def test_paging_goes_on_at_the_other_server_until_it_is_compacted(pair: Pair) -> None:
    for i in range(6):
        await pair.a.made(CM, named(f"c{i}"))
    first = await pair.a("GET", CM, query="limit=2")
    await pair.a("DELETE", f"{CM}/c3")
    token = first.body["metadata"]["continue"]
    second = await pair.b("GET", CM, query=f"limit=2&continue={token}")
    assert (names(first), names(second)) == (["c0", "c1"], ["c2", "c3"])
    assert second.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]
    # The other server has been started after the first change, so that it must ask etcd.
    await pair.b.server.store.compact(await pair.b.server.store.revision())
    pair.b.server.caches.cache(kind(pair, "configmaps"))._state.forget_before(2**62)
    expired = await pair.b("GET", CM, query=f"limit=2&continue={token}")
    assert (expired.status, expired.body["reason"]) == (410, "Expired")
    fresh = expired.body["metadata"]["continue"]
    assert names(await pair.b("GET", CM, query=f"continue={fresh}")) == ["c2", "c4", "c5"]


async def test_events_go_with_their_lease_and_watchers_are_told(
    etcd: Etcd, etcd_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that all share one lease, and end at one revision.
    monkeypatch.setattr("kybern.store.etcd_leases.EXTRA_SHARE", 1.0)
    events = "/api/v1/namespaces/default/events"
    async with (
        server(etcd, etcd_prefix, event_ttl=1) as a,
        server(etcd, etcd_prefix, event_ttl=1) as b,
    ):
        for i in range(3):
            involved = {"kind": "Pod", "namespace": "default", "name": "p"}
            await a.made(events, {"metadata": {"name": f"e{i}"}, "involvedObject": involved})
        assert len((await b("GET", events)).body["items"]) == 3
        version = (await b("GET", events)).body["metadata"]["resourceVersion"]
        client = Client.in_process(b.server.handler, ADMIN, Clock())
        gone = []
        async with asyncio.timeout(10):
            async for event in client.watch(EVENTS, "default", resource_version=version):
                gone.append((event["type"], event["object"]["metadata"]))
                if len(gone) == 3:
                    break
        assert {type_ for type_, _ in gone} == {"DELETED"}
        assert sorted(metadata["name"] for _, metadata in gone) == ["e0", "e1", "e2"]
        assert len({metadata["resourceVersion"] for _, metadata in gone}) == 1
        assert (await a("GET", events)).body["items"] == []


async def test_the_kubernetes_service_has_the_servers_that_live(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_service, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr("kybern.apiserver.master_leases.LEASE_SECONDS", 1)

    def published(caller: Caller, address: str) -> Any:
        loopback = Loopback(caller.server.handler)
        return kubernetes_service.published(loopback, caller.server.store, Config(), address, 6443)

    async def addresses() -> list[str]:
        found = await pair.a("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        shown = (await pair.b("GET", slices)).body["endpoints"]
        of_endpoints = [a["ip"] for a in found.body["subsets"][0]["addresses"]]
        of_slice = [address for endpoint in shown for address in endpoint["addresses"]]
        return of_endpoints if of_endpoints == of_slice else []

    async def until(expected: list[str]) -> None:
        async with asyncio.timeout(10):
            while await addresses() != expected:
                await asyncio.sleep(0.02)

    async with published(pair.a, "192.0.2.1"):
        async with published(pair.b, "192.0.2.2"):
            await until(["192.0.2.1", "192.0.2.2"])
            lease = await pair.value("/masterleases/192.0.2.2")
            assert lease.lease != 0
            # A server that was killed, as a kube-apiserver had recorded it.
            dead = {"metadata": {}, "subsets": [{"addresses": [{"ip": "192.0.2.3"}]}]}
            value = protobuf.encode({"kind": "Endpoints", "apiVersion": "v1", **dead})
            await pair.b.server.store.create("/registry/masterleases/192.0.2.3", value, ttl=1)
            await until(["192.0.2.1", "192.0.2.2", "192.0.2.3"])
            await until(["192.0.2.1", "192.0.2.2"])
        await until(["192.0.2.1"])


async def test_objects_of_a_kube_apiserver_are_understood(pair: Pair) -> None:
    pod = await pair.a.made(PODS, {"metadata": {"name": "new"}, "spec": POD_SPEC})
    pod["metadata"] |= {"name": "old", "labels": {"app": "old"}, "resourceVersion": ""}
    pod["spec"]["nodeName"] = "n1"
    await pair.put(f"{pair.prefix}/pods/default/old", protobuf.encode(pod))
    config_map = (
        b'{"apiVersion":"v1","data":{"metadata":"{"},"kind":"ConfigMap",'
        b'"metadata":{"name":"j","namespace":"default","resourceVersion":"1"}}\n'
    )
    await pair.put(f"{pair.prefix}/configmaps/default/j", config_map)
    found = (await pair.a("GET", f"{PODS}/old")).body
    pod["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
    assert found == pod
    assert names(await pair.b("GET", PODS, query="fieldSelector=spec.nodeName%3Dn1")) == ["old"]
    definition = (
        b'{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1",'
        b'"metadata":{"name":"widgets.example.com","uid":"w"},"spec":{"group":"example.com",'
        b'"version":"v1","names":{"plural":"widgets","singular":"widget","kind":"Widget",'
        b'"listKind":"WidgetList"},"scope":"Namespaced","validation":{"openAPIV3Schema":'
        b'{"type":"object","properties":{"n":{"type":"integer"}}}},"versions":[{"name":"v1",'
        b'"served":true,"storage":true}],"conversion":{"strategy":"None"},'
        b'"preserveUnknownFields":false},"status":{"conditions":[],"acceptedNames":'
        b'{"plural":"","kind":""},"storedVersions":["v1"]}}\n'
    )
    path = "/apiextensions.k8s.io/customresourcedefinitions/widgets.example.com"
    await pair.put(pair.prefix + path, definition)
    spec = (await pair.a("GET", f"/apis/apiextensions.k8s.io/v1{path[21:]}")).body["spec"]
    assert spec["versions"][0]["schema"]["openAPIV3Schema"]["type"] == "object"
    assert not spec.keys() & {"version", "validation", "preserveUnknownFields"}
    listed = (await pair.b("GET", CM)).body["items"]
    assert [item["data"] for item in listed] == [{"metadata": "{"}]
    assert listed[0]["metadata"]["resourceVersion"] != "1"
    # What this server changes it stores in its own form, which a kube-apiserver reads.
    found["metadata"]["labels"] = {"app": "changed"}
    changed = await pair.b("PUT", f"{PODS}/old", found)
    assert changed.status == 200, changed.body
    stored = orjson.loads((await pair.value("/pods/default/old")).value)
    assert (stored["kind"], stored["metadata"]["labels"]) == ("Pod", {"app": "changed"})
    assert "resourceVersion" not in stored["metadata"]


async def test_senseless_values_take_nothing_else_away(pair: Pair) -> None:
    await pair.a.made(CM, named("good"))
    await pair.put(f"{pair.prefix}/configmaps/default/bad", b"k8s:enc:aescbc:v1:key1:xxx")
    assert names(await pair.b("GET", CM)) == ["good"]
    await pair.a.made(CM, named("later"))
    assert names(await pair.b("GET", CM)) == ["good", "later"]


async def test_what_etcd_refuses_is_said_in_its_words(pair: Pair) -> None:
    container = {"name": "c", "image": "i", "env": [{"name": "X", "value": "x" * 1_600_000}]}
    big = {"metadata": {"name": "big"}, "spec": {"containers": [container]}}
    refused = await pair.a("POST", PODS, big)
    assert refused.status == 500, refused.body["status"]
    assert refused.body["message"] == "etcdserver: request is too large"


def kind(pair: Pair, plural: str) -> Any:
    served = pair.b.server.registry.lookup("", "v1", plural)
    assert served is not None
    return served.kind


def names(answer: Answer) -> list[str]:
    return [item["metadata"]["name"] for item in answer.body["items"]]
