"""A whole kubelet against an API server: the Node, pods from the API, the node API's doors."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from containerd_lab import BUSYBOX, STAY, needs_containerd, open_runtime, shell, until

from kybern.api.objects import condition
from kybern.api.resources import CONFIG_MAPS, EVENTS, LEASES, NODES, PODS
from kybern.api.user import AUTHENTICATED_GROUP, UserInfo
from kybern.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.http.spdy import SpdyClient
from kybern.kubelet.cgroups.kernel import CgroupFiles
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.config import Config
from kybern.kubelet.main import run
from kybern.kubelet.pods.worker import RESYNC_SECONDS
from kybern.testing import Cluster
from kybern.testing.patience import PATIENCE

V5 = "v5.channel.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Site:
    """The cluster, its one real node, and certificates to knock with."""

    cluster: Cluster
    config: Config
    authority: pki.CertificateAuthority
    directory: Path
    port: int

    async def get(self, path: str, name: str = "", *groups: str) -> tuple[int, str]:
        """Ask the node API as a user of the cluster's authority, or as nobody."""
        tls = ssl.create_default_context(cadata=self.authority.certificate_pem.decode())
        if name:
            self.authority.issue_client(name, groups).save(self.directory, "caller")
            tls.load_cert_chain(self.directory / "caller.crt", self.directory / "caller.key")
        url = f"https://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=tls) as answer:
            return answer.status, await answer.text()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site() -> AsyncIterator[Site]:
    async with open_runtime() as (containerd, directory), Cluster(nodes=0, serve=True) as cluster:
        clock = Clock()
        data = cluster.kubeconfig.parent
        authority = pki.load_or_create_authority(data / "pki", "ca", "kubernetes", clock)
        serving = authority.issue_server("system:node:lab", ["lab", "127.0.0.1"])
        serving.save(directory, "kubelet")
        (directory / "manifests").mkdir()
        config = Config(
            root_dir=str(directory / "kubelet"),
            container_runtime_endpoint=f"unix://{containerd.socket}",
            hostname_override="lab",
            node_ip=("127.0.0.1",),
            address="127.0.0.1",
            port=0,
            cgroup_root=f"kybern-lab-{directory.name}",
            pod_manifest_path=str(directory / "manifests"),
            client_ca_file=str(data / "pki" / "ca.crt"),
            tls_cert_file=str(directory / "kubelet.crt"),
            tls_private_key_file=str(directory / "kubelet.key"),
        )
        node = UserInfo("system:node:lab", ("system:nodes", AUTHENTICATED_GROUP))
        kubelet = asyncio.create_task(run(cluster.client_as(node, "kubelet"), clock, config))
        found = await cluster.wait_for(
            NODES, "lab", lambda o: _ready(o) and "taints" not in o["spec"]
        )
        port = found["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        try:
            yield Site(cluster, config, authority, directory, port)
            cgroups = Cgroups(config.cgroup_root)
            await until(lambda: not cgroups.pods(), "every pod's cgroup is gone")
            await until(lambda: not list((directory / "kubelet/pods").glob("*")), "all files too")
        finally:
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)
        CgroupFiles().remove(config.cgroup_root)


def _ready(node: dict[str, Any]) -> bool:
    found = condition(node, "Ready")
    return found is not None and found["status"] == "True"


def _pod(name: str, script: str = STAY, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [shell(script)],
            **fields,
        },
    }


async def test_the_node_describes_itself(site: Site) -> None:
    node = await site.cluster.client.get(NODES, "lab")
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "lab"
    status = node["status"]
    assert {"type": "InternalIP", "address": "127.0.0.1"} in status["addresses"]
    assert status["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    assert int(status["capacity"]["cpu"]) >= 1
    assert [c["status"] for c in status["conditions"]] == ["False", "False", "False", "True"]
    lease = await site.cluster.wait_for(LEASES, "lab", namespace="kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "lab"


async def test_a_pod_from_the_api_runs_with_its_token_and_goes(site: Site) -> None:
    client = site.cluster.client
    token = "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; "
    await client.create(PODS, _pod("whole", token + STAY), "default")
    pod = await site.cluster.wait_for(PODS, "whole", _ready)
    assert pod["status"]["phase"] == "Running"
    path = "/api/v1/namespaces/default/pods/whole/log"

    async def logged() -> bool:
        return (await client.request("GET", path)).body == b"default\n"

    await until(logged, "the log through the API server")
    events = await client.list(EVENTS, "default", field_selector="involvedObject.name=whole")
    seen = {event["reason"]: event for event in events["items"]}
    assert {"Scheduled", "Pulled", "Created", "Started"} <= set(seen)
    assert seen["Started"]["involvedObject"]["fieldPath"] == "spec.containers{main}"
    await client.delete(PODS, "whole", "default")
    await site.cluster.wait_gone(PODS, "whole")
    await until(lambda: not list(Path(site.config.root_dir, "pods").glob("*")), "its files go")
    await until(lambda: not list(Path(site.config.root_dir, "pod-logs").glob("*")), "its logs go")


async def test_a_changed_config_map_is_in_its_volume_at_once(site: Site) -> None:
    client = site.cluster.client
    settings = {"metadata": {"name": "settings"}, "data": {"color": "blue"}}
    await client.create(CONFIG_MAPS, settings, "default")
    container = shell(STAY, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    volumes = [{"name": "v", "configMap": {"name": "settings"}}]
    pod = _pod("mounting", containers=[container], volumes=volumes)
    await client.create(PODS, pod, "default")
    made = await site.cluster.wait_for(PODS, "mounting", _ready)
    mounted = Path(site.config.root_dir, "pods", made["metadata"]["uid"], "volumes")
    [color] = mounted.glob("*configmap/v/color")
    assert color.read_text() == "blue"
    await client.patch(CONFIG_MAPS, "settings", {"data": {"color": "green"}}, "default")
    await until(lambda: color.read_text() == "green", "the new color", seconds=RESYNC_SECONDS / 6)
    await client.delete(PODS, "mounting", "default")
    await site.cluster.wait_gone(PODS, "mounting")


async def test_a_forced_delete_ends_the_containers_too(site: Site) -> None:
    client = site.cluster.client
    await client.create(
        PODS, _pod("forced", "trap '' TERM; while :; do sleep 0.1; done"), "default"
    )
    await site.cluster.wait_for(PODS, "forced", _ready)
    await client.delete(PODS, "forced", "default", grace_period_seconds=0)
    await site.cluster.wait_gone(PODS, "forced")
    await until(lambda: not list(Path(site.config.root_dir, "pods").glob("*")), "its files go")


async def test_a_readiness_gate_is_left_to_its_owner(site: Site) -> None:
    client = site.cluster.client
    await client.create(
        PODS, _pod("gated", readinessGates=[{"conditionType": "x.io/lb"}]), "default"
    )
    pod = await site.cluster.wait_for(
        PODS, "gated", lambda o: (condition(o, "ContainersReady") or {}).get("status") == "True"
    )
    assert not _ready(pod)
    patch = {"status": {"conditions": [{"type": "x.io/lb", "status": "True"}]}}
    await client.patch(PODS, "gated", patch, "default", kind="strategic", subresource="status")
    await site.cluster.wait_for(PODS, "gated", _ready)
    await client.delete(PODS, "gated", "default")
    await site.cluster.wait_gone(PODS, "gated")


async def test_a_condition_that_another_has_changed_is_put_right(site: Site) -> None:
    client = site.cluster.client
    await client.create(PODS, _pod("marked"), "default")
    await site.cluster.wait_for(PODS, "marked", _ready)
    wrong = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await client.patch(PODS, "marked", wrong, "default", kind="strategic", subresource="status")
    await site.cluster.wait_for(PODS, "marked", _ready)
    await client.delete(PODS, "marked", "default")
    await site.cluster.wait_gone(PODS, "marked")


async def test_a_pod_that_was_declared_failed_ends_and_can_be_deleted(site: Site) -> None:
    client = site.cluster.client
    await client.create(PODS, _pod("declared"), "default")
    await site.cluster.wait_for(PODS, "declared", _ready)
    failed = {"status": {"phase": "Failed"}}
    await client.patch(PODS, "declared", failed, "default", subresource="status")
    ended = await site.cluster.wait_for(
        PODS,
        "declared",
        lambda o: "terminated" in o["status"]["containerStatuses"][0]["state"],
    )
    assert ended["status"]["phase"] == "Failed"
    await client.delete(PODS, "declared", "default")
    await site.cluster.wait_gone(PODS, "declared")


async def test_a_pod_that_ended_by_itself_can_be_deleted(site: Site) -> None:
    client = site.cluster.client
    pod = _pod("ended", "exit 0", restartPolicy="Never")
    pod["metadata"]["finalizers"] = ["x.io/wait"]
    await client.create(PODS, pod, "default")
    await site.cluster.wait_for(PODS, "ended", lambda o: o["status"]["phase"] == "Succeeded")
    await client.delete(PODS, "ended", "default")
    await client.patch(PODS, "ended", {"metadata": {"finalizers": None}}, "default", kind="merge")
    await site.cluster.wait_gone(PODS, "ended")


async def test_the_node_api_opens_only_to_those_who_may(site: Site) -> None:
    assert await site.get("/healthz") == (200, "ok")
    assert (await site.get("/pods"))[0] == 401
    status, text = await site.get("/pods", "nosy")
    assert (status, text) == (
        403,
        "Forbidden (user=nosy, verb=get, resource=nodes, subresource(lab)=proxy)",
    )
    status, text = await site.get("/pods", "admin", "system:masters")
    assert status == 200
    assert '"kind":"PodList"' in text
    assert (await site.get("/nothing", "admin", "system:masters"))[0] == 404


async def test_a_log_that_is_not_there_yet_says_why(site: Site) -> None:
    client = site.cluster.client
    pod = _pod("pulling")
    pod["spec"]["containers"][0].update(image="kybern.test/none:1", imagePullPolicy="Never")
    await client.create(PODS, pod, "default")
    await site.cluster.wait_for(
        PODS, "pulling", lambda o: "ErrImageNeverPull" in str(o["status"].get("containerStatuses"))
    )
    answer = await client.request("GET", "/api/v1/namespaces/default/pods/pulling/log")
    assert answer.status == 400
    assert answer.json()["message"] == (
        'container "main" in pod "pulling" is waiting to start: ErrImageNeverPull'
    )
    await client.delete(PODS, "pulling", "default", grace_period_seconds=0)
    await site.cluster.wait_gone(PODS, "pulling")
    assert BUSYBOX in str((await client.get(NODES, "lab"))["status"]["images"])


async def test_a_manifest_runs_is_mirrored_changes_and_goes(site: Site) -> None:
    client = site.cluster.client
    file = Path(site.config.pod_manifest_path, "web.yaml")

    def write(script: str) -> None:
        pod = _pod("web", script)
        pod["spec"]["containers"][0]["image"] = BUSYBOX
        partial = file.with_name(".partial")
        partial.write_text(json.dumps(pod))
        partial.replace(file)

    write("echo first; " + STAY)
    mirror = await site.cluster.wait_for(PODS, "web-lab", _ready)
    annotations = mirror["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.source"] == "file"
    assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
    container = mirror["status"]["containerStatuses"][0]["containerID"]

    await client.delete(PODS, "web-lab", "default")
    again = await site.cluster.wait_for(
        PODS, "web-lab", lambda o: _ready(o) and o["metadata"]["uid"] != mirror["metadata"]["uid"]
    )
    assert again["status"]["containerStatuses"][0]["containerID"] == container
    log = await client.request("GET", "/api/v1/namespaces/default/pods/web-lab/log")
    assert log.body == b"first\n"

    write("echo second; " + STAY)
    changed = await site.cluster.wait_for(
        PODS,
        "web-lab",
        lambda o: _ready(o) and o["status"]["containerStatuses"][0]["containerID"] != container,
    )
    assert (
        changed["metadata"]["annotations"]["kubernetes.io/config.hash"]
        != annotations["kubernetes.io/config.hash"]
    )
    file.write_text("no: pod")
    await site.cluster.wait_gone(PODS, "web-lab")
    file.unlink()


async def test_a_command_is_told_the_end_of_its_input(site: Site) -> None:
    client = Client.from_kubeconfig(str(site.cluster.kubeconfig), Clock())
    await client.create(PODS, _pod("reader"), "default")
    await site.cluster.wait_for(PODS, "reader", _ready)

    async def execute(script: str, *messages: bytes, tty: bool = False) -> dict[int, bytes]:
        query = [("command", "sh"), ("command", "-c"), ("command", script), ("stdin", "true")]
        query += [("stdout", "true"), ("stderr", str(not tty).lower()), ("tty", str(tty).lower())]
        path = "/api/v1/namespaces/default/pods/reader/exec"
        channels: dict[int, bytes] = {}
        async with asyncio.timeout(20 * PATIENCE):
            async with await client.websocket(path, urlencode(query), (V5,)) as socket:
                for message in messages:
                    await socket.send_bytes(message)
                async for answer in socket:
                    channel = answer.data[0]
                    channels[channel] = channels.get(channel, b"") + answer.data[1:]
        return channels

    large = b"x" * 300_000
    heard = await execute("wc -c; echo no >&2; exit 3", b"\0" + large, b"\0y", b"\xff\0")
    assert heard[1] == b"300001\n"
    assert heard[2] == b"no\n"
    status = json.loads(heard[3])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    heard = await execute("head -c 1000000 /dev/zero", b"\xff\0")
    assert len(heard[1]) == 1_000_000
    assert json.loads(heard[3])["status"] == "Success"
    sized = "until [ \"$(stty size 2>&1)\" = '30 90' ]; do sleep 0.05; done; echo sized"
    heard = await execute(sized, b'\4{"Width":90,"Height":30}', tty=True)
    assert heard[1] == b"sized\r\n"
    await client.delete(PODS, "reader", "default")
    await site.cluster.wait_gone(PODS, "reader")
    await client.close()


async def test_a_port_is_reached_through_a_websocket(site: Site) -> None:
    client = Client.from_kubeconfig(str(site.cluster.kubeconfig), Clock())
    await client.create(PODS, _pod("server", "nc -ll -p 8080 -e echo heard"), "default")
    await site.cluster.wait_for(PODS, "server", _ready)
    path = "/api/v1/namespaces/default/pods/server/portforward"

    async def ask() -> bytes:
        spdy, heard = SpdyClient(), b""
        async with (
            asyncio.timeout(5 * PATIENCE),
            await client.websocket(path, "", (TUNNEL,)) as socket,
        ):
            for kind in ("error", "data"):
                fields = {"streamtype": kind, "port": "8080", "requestid": "0"}
                stream, frame = spdy.open(fields)
                # kubectl writes a frame in pieces, and empty ones among them.
                for piece in (frame[:5], b"", frame[5:]):
                    await socket.send_bytes(piece)
            async for message in socket:
                received, answer = spdy.receive(message.data)
                if answer:
                    await socket.send_bytes(answer)
                heard += b"".join(each.data for each in received if each.stream == stream)
                if any(each.stream == stream and each.ended for each in received):
                    break
        return heard

    async def served() -> bool:
        return await ask() == b"heard\n"

    await until(served, "the answer of the server")
    await client.delete(PODS, "server", "default")
    await site.cluster.wait_gone(PODS, "server")
    await client.close()


async def test_usage_is_told_to_who_scales_and_who_looks(site: Site) -> None:
    client = site.cluster.client
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    pod = _pod("busy", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; " + STAY)
    pod["spec"]["containers"][0]["livenessProbe"] = probe
    pod["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    await client.create(PODS, pod, "default")
    await site.cluster.wait_for(PODS, "busy", _ready)
    whose = ("admin", "system:masters")

    async def metrics() -> dict[str, float]:
        _, text = await site.get("/metrics/resource", *whose)
        rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
        return {row[0]: float(row[1]) for row in rows}

    container = '{container="main",namespace="default",pod="busy"}'

    async def counted() -> bool:
        return (await metrics()).get(f"container_cpu_usage_seconds_total{container}", 0) > 0.01

    await until(counted, "the container's CPU time")
    found = await metrics()
    assert found[f"container_memory_working_set_bytes{container}"] > 0
    assert abs(found[f"container_start_time_seconds{container}"] - Clock().time()) < 100
    assert found['pod_cpu_usage_seconds_total{namespace="default",pod="busy"}'] > 0.01
    assert found["node_cpu_usage_seconds_total"] > found["resource_scrape_error"] == 0
    assert found["node_memory_working_set_bytes"] > 0
    summary = json.loads((await site.get("/stats/summary", *whose))[1])
    assert summary["node"]["fs"]["capacityBytes"] > summary["node"]["fs"]["availableBytes"] > 0
    assert summary["node"]["rlimit"]["curproc"] > 0
    (shown,) = (each for each in summary["pods"] if each["podRef"]["name"] == "busy")
    assert shown["memory"]["workingSetBytes"] > 0
    assert shown["process_stats"]["process_count"] > 0
    assert shown["containers"][0]["startTime"]
    assert [volume["name"] for volume in shown["volume"]] == ["scratch"]
    if Cgroups("").unified:
        for of in (summary["node"], shown, shown["containers"][0]):
            for resource in ("cpu", "memory", "io"):
                assert of[resource]["psi"]["some"]["total"] >= 0

    async def probed() -> bool:
        _, text = await site.get("/metrics/probes", *whose)
        return 'probe_type="Liveness",result="successful"} ' in text

    await until(probed, "the count of a probe")
    await client.delete(PODS, "busy", "default")
    await site.cluster.wait_gone(PODS, "busy")


async def test_a_device_plugin_offers_devices_and_containers_get_them(site: Site) -> None:
    client, resource = site.cluster.client, "lab.example/file"
    files = [site.directory / name for name in ("one", "two")]
    for file in files:
        file.write_text(f"I am {file.name}\n")
    plugin = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("device_plugin.py"))),
        *(str(Path(site.config.root_dir, "device-plugins")), resource, *map(str, files)),
        stdin=asyncio.subprocess.PIPE,
    )
    assert plugin.stdin is not None
    try:
        node = await site.cluster.wait_for(
            NODES, "lab", lambda o: o["status"]["allocatable"].get(resource) == "2"
        )
        assert node["status"]["capacity"][resource] == "2"

        def using(name: str, count: int) -> dict[str, Any]:
            pod = _pod(name, "echo $DEVICES; cat /device/*; ls /dev/lab-null; " + STAY)
            pod["spec"]["containers"][0]["resources"] = {"limits": {resource: str(count)}}
            return pod

        await client.create(PODS, using("first", 1), "default")
        await site.cluster.wait_for(PODS, "first", _ready)
        await client.create(PODS, using("second", 1), "default")
        await site.cluster.wait_for(PODS, "second", _ready)
        heard = []
        for name in ("first", "second"):
            path = f"/api/v1/namespaces/default/pods/{name}/log"
            heard.append((await client.request("GET", path)).body.decode())
        # The plugin prefers the last of its devices.
        assert heard == [f"{name}\nI am {name}\n/dev/lab-null\n" for name in ("two", "one")]
        late = using("late", 1)
        late["spec"]["nodeName"] = "lab"
        await client.create(PODS, late, "default")
        refused = await site.cluster.wait_for(
            PODS, "late", lambda o: o["status"]["phase"] == "Failed"
        )
        assert refused["status"]["reason"] == f"OutOf{resource}"
        plugin.stdin.write(b"sick\n")
        await site.cluster.wait_for(
            NODES, "lab", lambda o: o["status"]["allocatable"].get(resource) == "0"
        )

        def is_sick(found: dict[str, Any]) -> bool:
            (status,) = found["status"]["containerStatuses"]
            (shown,) = status["allocatedResourcesStatus"]
            assert shown["name"] == resource
            return {one["health"] for one in shown["resources"]} == {"Unhealthy"}

        await site.cluster.wait_for(PODS, "first", is_sick)
        for name in ("first", "second", "late"):
            await client.delete(PODS, name, "default")
            await site.cluster.wait_gone(PODS, name)
    finally:
        plugin.stdin.close()
        await plugin.wait()
