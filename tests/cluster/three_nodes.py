"""Three real nodes for the tests of a module, on a machine of their own, and ways to hurt them.

The machine is a network namespace that the module's thread enters; nodes are namespaces on its
bridge. ``traces`` lists all that such a cluster could leave behind.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import leftovers
from network_lab import inside, make_machine, run

from kybern.api.errors import Obj
from kybern.api.resources import PODS, SERVICES
from kybern.client import Client
from kybern.cluster.images import build_rootfs, import_everywhere
from kybern.cluster.nodes import Node, cgroup, known_nodes
from kybern.cluster.nodes.spec import identity
from kybern.testing.patience import PATIENCE
from running_cluster import RunningCluster, command_line, free_port, until

IMAGE = "kybern.local/three-nodes-test:1"
NODES = ("node-1", "node-2", "node-3")
GRACE_SECONDS = round(14 * PATIENCE)
# Nobody but the mirror knows this registry; whoever serves there is the mirror.
MIRRORED = "registry.test"
MIRROR = ("192.168.77.1", 5000)
# Silence is noticed within seconds here; upstream's defaults take a minute.
FLAGS = (
    "--nodes=3",
    "--cluster-cidr=10.60.0.0/16",
    "--service-cluster-ip-range=10.61.0.0/16",
    f"--registry-mirror={MIRRORED}=http://{MIRROR[0]}:{MIRROR[1]}",
    f"--component-flag=controller-manager:node-monitor-grace-period={GRACE_SECONDS}",
    "--component-flag=controller-manager:node-monitor-period=1",
)


@contextmanager
def three_nodes(data_dir: Path, rootfs: Path) -> Iterator[RunningCluster]:
    """A running cluster with an image of busybox on every node."""
    machine = make_machine()
    try:
        with inside(machine):
            cluster = RunningCluster(data_dir, (f"--secure-port={free_port()}", *FLAGS))
            try:
                cluster.up()
                image = build_rootfs(rootfs, IMAGE, ["/bin/sh", "-c"], busybox=True)
                asyncio.run(import_everywhere(data_dir, [image]))
                yield cluster
            finally:
                cluster.down()
    finally:
        run("ip", "netns", "del", machine)


def nodes_of(cluster: RunningCluster) -> dict[str, Node]:
    return {node.name: node for node in known_nodes(cluster.data_dir)}


def processes(node: Node) -> set[int]:
    """Everything that lives in a node, containers included."""
    return cgroup.processes(node.cgroup)


def process_of(node: Node, *words: str) -> int:
    """The process of a node whose command line has all these words; 0 if there is none."""
    for process in sorted(processes(node)):
        line = " ".join(command_line(process))
        if all(word in line for word in words):
            return process
    return 0


def agent_of(node: Node) -> int:
    return process_of(node, "kybern.cluster.cli", "run", "kubelet")


def containerd_of(node: Node) -> int:
    return process_of(node, "containerd", "--config")


def traces(data_dir: Path) -> dict[str, list[str]]:
    """All that the cluster could have left on the machine, by kind; call it on its machine."""
    name = identity(data_dir)
    files = {
        "files": [str(data_dir)] if data_dir.exists() else [],
        "sandboxes": [str(path) for path in Path("/var/lib/cni").glob(f"**/*kybern-{name}*")],
    }
    found = leftovers.traces(name, str(data_dir), besides=("eth0", "wire"))
    return {**found, **{kind: items for kind, items in files.items() if items}}


def pod(name: str, node: str, script: str, **spec: Any) -> Obj:
    """A pod that runs a script once on a node."""
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "args": [script]}
    container |= spec.pop("container", {})
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            **spec,
        },
    }


async def output_of(client: Client, made: Obj) -> str:
    """Run a pod to its end; what it wrote. Fails with that if the pod does."""
    name = made["metadata"]["name"]
    await client.create(PODS, made, "default")
    found: Obj = {}

    async def ended() -> bool:
        found.update(await client.get(PODS, name, "default"))
        return found["status"].get("phase") in ("Succeeded", "Failed")

    try:
        await until(ended)
    except TimeoutError:
        raise AssertionError(f"{name} does not end: {found.get('status')}") from None
    answer = await client.request("GET", f"/api/v1/namespaces/default/pods/{name}/log")
    output = answer.body.decode()
    assert found["status"]["phase"] == "Succeeded", output
    await client.delete(PODS, name, "default", grace_period_seconds=0)
    return output


def web(replicas: int) -> Obj:
    """A Deployment whose pods say their names, spread evenly, gone from dead nodes at once."""
    labels = {"app": "web"}
    script = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": [script],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    leave = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": round(PATIENCE)}
    keys = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
    spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "topologySpreadConstraints": [spread],
        "tolerations": [{"key": key, **leave} for key in keys],
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    selector = {"matchLabels": labels}
    body = {"replicas": replicas, "selector": selector, "template": template}
    return {"metadata": {"name": "web"}, "spec": body}


async def make_services(client: Client) -> None:
    """Services of every type before the pods of :func:`web`."""
    for name, spec in {
        "web": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]},
        "head": {"clusterIP": "None", "ports": [{"port": 8080}]},
        "alias": {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"},
    }.items():
        selector = {} if name == "alias" else {"selector": {"app": "web"}}
        obj = {"metadata": {"name": name}, "spec": {**selector, **spec}}
        await client.create(SERVICES, obj, "default")


def interpreter_volumes() -> tuple[list[Obj], list[Obj]]:
    """Volumes and mounts by which a pod can run this very Python, with all that it imports."""
    sources = Path(__file__).parents[2] / "src"
    places = dict.fromkeys((sys.prefix, sys.base_prefix, str(sources), "/lib", "/lib64"))
    volumes = [{"name": f"v{i}", "hostPath": {"path": place}} for i, place in enumerate(places)]
    mounts = [
        {"name": f"v{i}", "mountPath": place, "readOnly": True} for i, place in enumerate(places)
    ]
    return volumes, mounts
