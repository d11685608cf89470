"""Extenders over HTTP: what they are asked, and what becomes of their answers."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from manifests import pod

from kybern.api import objects
from kybern.api.resources import EVENTS, NODES, POD_EXPLANATIONS, PODS, PRIORITY_CLASSES
from kybern.api.user import ADMIN
from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response
from kybern.component.http.server import serve
from kybern.component.pki import CertificateAuthority
from kybern.component.tls import TlsConfig
from kybern.scheduler import main as scheduler
from kybern.scheduler.config import Config
from kybern.scheduler.extenders import http_extender
from kybern.scheduler.extenders.errors import ExtenderError
from kybern.scheduler.extenders.http_extender import HttpExtender
from kybern.scheduler.extenders.settings import read_extenders
from kybern.testing import Cluster

Obj = dict[str, Any]
Answer = Callable[[Obj], Any]

pytestmark = pytest.mark.kybern(nodes=3, scheduler=False)


class Extender:
    """Answers by verb and remembers what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Obj]] = []

    async def handle(self, request: Request) -> Response:
        verb = request.path.rpartition("/")[2]
        arguments = orjson.loads(request.body)
        self.asked.append((verb, arguments))
        answer = self.answers[verb](arguments)
        if answer is None:
            return Response(500)
        return Response(200, {"Content-Type": "application/json"}, orjson.dumps(answer))


@contextlib.asynccontextmanager
async def extending(
    cluster: Cluster, tmp_path: Path, *extenders: tuple[Extender, Obj]
) -> AsyncIterator[None]:
    """A scheduler with these extenders."""
    async with contextlib.AsyncExitStack() as stack:
        documents = []
        for extender, settings in extenders:
            server = await serve(extender.handle, "127.0.0.1", 0, clock=Clock())
            stack.push_async_callback(server.close)
            documents.append({"urlPrefix": f"http://127.0.0.1:{server.port}/x", **settings})
        path = tmp_path / "scheduler.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "kubescheduler.config.k8s.io/v1",
                    "kind": "KubeSchedulerConfiguration",
                    "extenders": documents,
                }
            )
        )
        client = cluster.client_as(ADMIN)
        config = Config(leader_elect=False, scheduler_config=str(path))
        task = asyncio.create_task(scheduler.run(client, cluster.clock, config))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def is_bound(obj: Obj) -> bool:
    return bool(obj["spec"].get("nodeName"))


def is_refused(obj: Obj) -> bool:
    return objects.condition_is(obj, "PodScheduled", "False")


def sized(name: str, cpu: str, **spec: Any) -> Obj:
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}
    return pod(name, containers=[container], **spec)


async def test_extenders_filter_and_rank_by_name(kybern_cluster: Cluster, tmp_path: Path) -> None:
    """Each sees what the one before left; names in answers may be written in any case."""
    first = Extender(
        filter=lambda a: {
            "nodenames": [n for n in a["NodeNames"] if n != "simulated-0"],
            "FailedNodes": {"simulated-0": "not today"},
        }
    )
    second = Extender(rank=lambda a: [{"Host": n, "Score": 10} for n in a["NodeNames"][-1:]])
    byname = {"nodeCacheCapable": True}
    async with extending(
        kybern_cluster,
        tmp_path,
        (first, {"filterVerb": "filter", **byname}),
        (second, {"prioritizeVerb": "rank", "weight": 5, **byname}),
    ):
        await kybern_cluster.client.create(PODS, pod("web"))
        bound = await kybern_cluster.wait_for(PODS, "web", is_bound)
    assert bound["spec"]["nodeName"] == "simulated-2"
    ((_, asked),) = first.asked
    assert sorted(asked["NodeNames"]) == ["simulated-0", "simulated-1", "simulated-2"]
    assert asked["Nodes"] is None and asked["Pod"]["metadata"]["name"] == "web"
    ((_, asked),) = second.asked
    assert sorted(asked["NodeNames"]) == ["simulated-1", "simulated-2"]


async def test_answers_may_be_as_large_as_clusters_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"a-node-with-a-rather-long-name-{number:06}" for number in range(20_000)]
    extender = Extender(filter=lambda a: {"NodeNames": a["NodeNames"]})
    server = await serve(extender.handle, "127.0.0.1", 0, clock=Clock())
    url = f"http://127.0.0.1:{server.port}"
    settings = {"urlPrefix": url, "filterVerb": "filter", "nodeCacheCapable": True}
    client = HttpExtender(read_extenders([settings])[0])
    nodes = [{"metadata": {"name": name}} for name in names]
    try:
        assert (await client.filter(pod("web"), nodes)).nodes == names
        monkeypatch.setattr(http_extender, "LARGEST_ANSWER", 1000)
        with pytest.raises(ExtenderError, match="larger than 1000 bytes"):
            await client.filter(pod("web"), nodes)
    finally:
        await client.close()
        await server.close()


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"NodeNames": 3},
        {"NodeNames": ["b"]},
        {"NodeNames": ["a"], "FailedNodes": ["b"]},
        {"NodeNames": ["a"], "FailedNodes": 7},
        {"Error": "out of order"},
    ],
)
async def test_what_is_no_answer_is_the_extenders_error(answer: Any) -> None:
    extender = Extender(filter=lambda a: answer)
    server = await serve(extender.handle, "127.0.0.1", 0, clock=Clock())
    url = f"http://127.0.0.1:{server.port}"
    settings = {"urlPrefix": url, "filterVerb": "filter", "nodeCacheCapable": True}
    client = HttpExtender(read_extenders([settings])[0])
    try:
        with pytest.raises(ExtenderError):
            await client.filter(pod("web"), [{"metadata": {"name": "a"}}])
    finally:
        await client.close()
        await server.close()


async def test_an_extender_is_verified_by_its_authority(
    kybern_cluster: Cluster, tmp_path: Path
) -> None:
    authority = CertificateAuthority.create("extenders", Clock())
    authority.issue_server("extender", ["extender.example.com"]).save(tmp_path, "serving")
    tls = TlsConfig(str(tmp_path / "serving.crt"), str(tmp_path / "serving.key"))
    extender = Extender(filter=lambda a: {"NodeNames": a["NodeNames"][:1]})
    server = await serve(extender.handle, "127.0.0.1", 0, tls, clock=Clock())
    nodes = [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]

    async def asked(ca: bytes, name: str) -> list[str]:
        settings = {"caData": base64.b64encode(ca).decode(), "serverName": name}
        document = {
            "urlPrefix": f"https://127.0.0.1:{server.port}",
            "filterVerb": "filter",
            "nodeCacheCapable": True,
            "enableHTTPS": True,
            "tlsConfig": settings,
        }
        client = HttpExtender(read_extenders([document])[0])
        try:
            return (await client.filter(pod("web"), nodes)).nodes
        finally:
            await client.close()

    try:
        assert await asked(authority.certificate_pem, "extender.example.com") == ["a"]
        with pytest.raises(ExtenderError, match="certificate"):
            await asked(authority.certificate_pem, "other.example.com")
        stranger = CertificateAuthority.create("strangers", Clock())
        with pytest.raises(ExtenderError, match="certificate"):
            await asked(stranger.certificate_pem, "extender.example.com")
    finally:
        await server.close()


async def test_an_extender_that_keeps_no_nodes_gets_them_whole(
    kybern_cluster: Cluster, tmp_path: Path
) -> None:
    extender = Extender(filter=lambda a: {"Nodes": {"items": a["Nodes"]["items"][:1]}})
    async with extending(kybern_cluster, tmp_path, (extender, {"filterVerb": "filter"})):
        await kybern_cluster.client.create(PODS, pod("web"))
        bound = await kybern_cluster.wait_for(PODS, "web", is_bound)
    ((_, asked),) = extender.asked
    assert asked["NodeNames"] is None
    assert bound["spec"]["nodeName"] == asked["Nodes"]["items"][0]["metadata"]["name"]
    assert asked["Nodes"]["items"][0]["status"]["allocatable"]


async def test_what_an_extender_refuses_is_told_with_its_words(
    kybern_cluster: Cluster, tmp_path: Path
) -> None:
    client = kybern_cluster.client
    await client.patch(NODES, "simulated-0", {"spec": {"unschedulable": True}})
    room = [False]

    def judge(arguments: Obj) -> Obj:
        names = arguments["NodeNames"]
        if room[0]:
            return {"NodeNames": names}
        return {"NodeNames": [], "FailedAndUnresolvableNodes": dict.fromkeys(names, "no licence")}

    extender = Extender(filter=judge)
    settings = {"filterVerb": "filter", "nodeCacheCapable": True}
    async with extending(kybern_cluster, tmp_path, (extender, settings)):
        await client.create(PODS, pod("web"))
        refused = await kybern_cluster.wait_for(PODS, "web", is_refused)
        condition = objects.condition(refused, "PodScheduled")
        assert condition is not None
        assert condition["message"].startswith(
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 no licence."
        )
        explained = await client.get(POD_EXPLANATIONS, "web", "default")
        assert explained["status"]["message"] == condition["message"]
        assert explained["status"]["summary"].startswith("extenders turned down")
        # Any event may help, for extenders do not say which do.
        room[0] = True
        await client.patch(NODES, "simulated-1", {"metadata": {"labels": {"licence": "yes"}}})
        await kybern_cluster.wait_for(PODS, "web", is_bound)


async def test_an_extender_that_fails_fails_the_attempt_unless_it_may_be_ignored(
    kybern_cluster: Cluster, tmp_path: Path
) -> None:
    broken = Extender(filter=lambda a: None)
    interested = {"managedResources": [{"name": "example.com/gpu", "ignoredByScheduler": True}]}
    async with extending(
        kybern_cluster,
        tmp_path,
        (broken, {"filterVerb": "filter", **interested}),
        (Extender(filter=lambda a: {"Error": "bad day"}), {"filterVerb": "filter", "ignorable": 1}),
    ):
        client = kybern_cluster.client
        await client.create(PODS, pod("plain"))
        await kybern_cluster.wait_for(PODS, "plain", is_bound)
        assert not broken.asked
        wish = {"limits": {"example.com/gpu": "1"}, "requests": {"example.com/gpu": "1"}}
        await client.create(
            PODS, pod("gpu", containers=[{"name": "c", "image": "i", "resources": wish}])
        )
        refused = await kybern_cluster.wait_for(PODS, "gpu", is_refused)
        condition = objects.condition(refused, "PodScheduled")
        assert condition is not None and condition["reason"] == "SchedulerError"
        assert condition["message"].startswith("failed filter with extender at URL http://")


async def test_an_extender_binds_where_it_has_the_verb(
    kybern_cluster: Cluster, tmp_path: Path
) -> None:
    extender = Extender(bind=lambda a: {})
    async with extending(kybern_cluster, tmp_path, (extender, {"bindVerb": "bind"})):
        client = kybern_cluster.client
        created = await client.create(PODS, pod("web"))

        async def said() -> bool:
            events, _ = await client.list_all(EVENTS, "default")
            return any(event["reason"] == "Scheduled" for event in events)

        await kybern_cluster.wait_until(said)
    ((_, asked),) = extender.asked
    assert asked["PodName"] == "web" and asked["PodUID"] == created["metadata"]["uid"]
    assert asked["Node"].startswith("simulated-")
    assert not is_bound(await client.get(PODS, "web", "default"))


async def test_an_extender_chooses_among_the_nodes_to_clear(
    kybern_cluster: Cluster, tmp_path: Path
) -> None:
    def spare_all_but_the_last(arguments: Obj) -> Obj:
        victims = arguments["NodeNameToVictims"]
        node = max(victims)
        pods = [{"UID": one["metadata"]["uid"]} for one in victims[node]["Pods"]]
        return {"NodeNameToMetaVictims": {node: {"Pods": pods}}}

    extender = Extender(preempt=spare_all_but_the_last)
    async with extending(kybern_cluster, tmp_path, (extender, {"preemptVerb": "preempt"})):
        client = kybern_cluster.client
        await client.create(PRIORITY_CLASSES, {"metadata": {"name": "vital"}, "value": 1000})
        for number in range(3):
            await client.create(PODS, sized(f"lesser-{number}", "6"))
            await kybern_cluster.wait_for(PODS, f"lesser-{number}", is_bound)
        await client.create(PODS, sized("vital", "6", priorityClassName="vital"))
        bound = await kybern_cluster.wait_for(PODS, "vital", is_bound)
    assert extender.asked
    assert bound["spec"]["nodeName"] == "simulated-2"
