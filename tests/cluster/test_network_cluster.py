"""Services and DNS in a whole cluster of two nodes: real pods ask, on either node.

The machine under the cluster is a network namespace, which this module's thread enters.
"""

import asyncio
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import leftovers
import pytest
from network_lab import inside, make_machine, needs_root, run

from kybern.api.resources import ENDPOINT_SLICES, PODS, SERVICES
from kybern.client.client import Client
from kybern.cluster.images import build_rootfs, import_everywhere
from kybern.cluster.nodes.containerd import find_program
from kybern.cluster.nodes.spec import identity
from kybern.component.clock import Clock
from kybern.testing.patience import PATIENCE
from running_cluster import RunningCluster, free_port

pytestmark = [
    needs_root,
    pytest.mark.root,
    pytest.mark.skipif(
        find_program("containerd") is None or not os.path.exists("/bin/busybox"),
        reason="containerd or busybox-static is not installed",
    ),
]

IMAGE = "kybern.local/network-test:1"
NODES = ("node-1", "node-2")
SECONDS = 60 * PATIENCE


@dataclass
class Cluster:
    """A running cluster's directory and node addresses."""

    data_dir: Path
    addresses: list[str]

    def client(self) -> Client:
        return Client.from_kubeconfig(str(self.data_dir / "kubeconfig"), Clock())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    data_dir = tmp_path_factory.mktemp("cluster")
    machine = make_machine()
    with inside(machine):
        running = RunningCluster(data_dir, (f"--secure-port={free_port()}", "--nodes=2"))
        yield from prepared(running, tmp_path_factory.mktemp("rootfs"))
    run("ip", "netns", "del", machine)


def prepared(running: RunningCluster, rootfs: Path) -> Iterator[Cluster]:
    data_dir = running.data_dir
    try:
        running.up()
        image = build_rootfs(rootfs, IMAGE, ["/bin/sh", "-c"], busybox=True)
        asyncio.run(import_everywhere(data_dir, [image]))
        yield Cluster(data_dir, asyncio.run(prepare(data_dir)))
    finally:
        running.down()
    leftovers.assert_nothing_left(identity(data_dir), str(data_dir), besides=("eth0", "wire"))


async def prepare(data_dir: Path) -> list[str]:
    """A web server on each node with Services before them; the nodes' addresses."""
    client = Client.from_kubeconfig(str(data_dir / "kubeconfig"), Clock())
    try:
        serve = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"
        for node in NODES:
            await client.create(PODS, pod(f"web-{node}", node, serve, app="web"), "default")
        for name, spec in {
            "web": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]},
            "head": {"clusterIP": "None", "ports": [{"port": 8080}]},
            "nobody": {"selector": {"app": "nobody"}, "ports": [{"port": 80}]},
            "alias": {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"},
        }.items():
            selector = {"selector": {"app": "web"}} if name in ("web", "head") else {}
            obj = {"metadata": {"name": name}, "spec": {**selector, **spec}}
            await client.create(SERVICES, obj, "default")
        await until(client, both_serve)
        pods = [await client.get(PODS, f"web-{node}", "default") for node in NODES]
        return [found["status"]["hostIP"] for found in pods]
    finally:
        await client.close()


async def both_serve(client: Client) -> bool:
    selector = "kubernetes.io/service-name=web"
    slices, _ = await client.list_all(ENDPOINT_SLICES, "default", label_selector=selector)
    endpoints = [item for found in slices for item in found.get("endpoints") or []]
    return sum(item["conditions"].get("ready", False) for item in endpoints) == len(NODES)


async def until(client: Client, condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not await condition(client):
            await asyncio.sleep(0.1)


def pod(name: str, node: str, script: str, **labels: str) -> dict[str, Any]:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "args": [script]}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }


async def ask(cluster: Cluster, name: str, node: str, script: str) -> str:
    """Run a script in a pod on a node; its output. Fails with the output if the script does."""
    client = cluster.client()
    try:
        await client.create(PODS, pod(name, node, script), "default")

        async def ended(client: Client) -> bool:
            found = await client.get(PODS, name, "default")
            return found["status"].get("phase") in ("Succeeded", "Failed")

        await until(client, ended)
        path = f"/api/v1/namespaces/default/pods/{name}/log"
        output = (await client.request("GET", path)).body.decode()
        found = await client.get(PODS, name, "default")
        assert found["status"]["phase"] == "Succeeded", output
        return output
    finally:
        await client.close()


@pytest.mark.parametrize("node", NODES)
async def test_pods_find_services_by_name(cluster: Cluster, node: str) -> None:
    script = """
    set -e
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do wget -q -O - http://web/; done | sort -u
    echo alias $(wget -q -O - http://alias.default.svc.cluster.local/ | cut -c1-3)
    echo head $(nslookup head.default.svc.cluster.local | grep -c 'Address: 10.244.')
    nc -w 5 kubernetes.default.svc.cluster.local 443 </dev/null && echo api
    nslookup missing.default.svc.cluster.local | grep -o -m1 NXDOMAIN
    if wget -q -O - http://nobody/; then exit 1; fi
    """
    lines = (await ask(cluster, f"names-{node}", node, script)).splitlines()
    assert [line for line in lines if line.startswith("web")] == ["web-node-1", "web-node-2"]
    for expected in ("alias web", "head 2", "api", "NXDOMAIN"):
        assert expected in lines


async def test_node_ports_answer_on_every_node(cluster: Cluster) -> None:
    client = cluster.client()
    service = await client.get(SERVICES, "web", "default")
    await client.close()
    port = service["spec"]["ports"][0]["nodePort"]
    for address in cluster.addresses:
        seen = {await asyncio.to_thread(fetch, f"http://{address}:{port}/") for _ in range(16)}
        assert seen == {"web-node-1", "web-node-2"}


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode().strip())
