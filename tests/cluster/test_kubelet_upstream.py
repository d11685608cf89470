"""A kubelet on upstream's kube-apiserver: joins with a token, gets certificates, runs a pod."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import upstream_lab
from containerd_lab import STAY, needs_containerd, open_runtime, shell
from test_upstream_components import connected
from upstream_lab import Processes

from certificate_lab import TOKEN, decide, let_nodes_join, requested
from kybern.api import objects
from kybern.api.resources import CONFIG_MAPS, NODES, PODS, SERVICE_ACCOUNTS
from kybern.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, load_access, write_kubeconfig
from kybern.kubelet.cgroups.kernel import CgroupFiles
from running_cluster import free_port, until

pytestmark = needs_containerd

SERVING = "kubernetes.io/kubelet-serving"


async def test_a_node_joins_upstreams_api_server_and_runs_a_pod() -> None:
    programs = upstream_lab.binaries("kube-apiserver", "etcd")
    async with open_runtime() as (containerd, directory):
        site = directory / "site"
        site.mkdir()
        with node_cgroup(directory) as cgroup, upstream_lab.processes(site) as run:
            kubeconfig = _control_plane(run, programs)
            async with connected(run, kubeconfig) as client:
                await let_nodes_join(client)
                known = load_access(kubeconfig)
                write_kubeconfig(site / "bootstrap", Access(known.server, known.ca, token=TOKEN))
                run.kybern(
                    "kubelet",
                    f"--kubeconfig={site / 'kubelet.kubeconfig'}",
                    f"--bootstrap-kubeconfig={site / 'bootstrap'}",
                    "--rotate-certificates",
                    "--rotate-server-certificates",
                    f"--root-dir={directory / 'kubelet'}",
                    f"--container-runtime-endpoint=unix://{containerd.socket}",
                    f"--client-ca-file={site / 'pki/ca.crt'}",
                    f"--cgroup-root={cgroup}",
                    "--hostname-override=lab",
                    "--node-ip=127.0.0.1",
                    "--address=127.0.0.1",
                    f"--port={free_port()}",
                )
                await _work(client)
                assert run.dead() == []


@contextmanager
def node_cgroup(directory: Path) -> Iterator[str]:
    """A name for the node's tree of cgroups, which is gone afterwards."""
    name = f"kybern-lab-{directory.name}"
    try:
        yield name
    finally:
        CgroupFiles().remove(name)
        assert not CgroupFiles().exists(name)


def _control_plane(run: Processes, programs: dict[str, str]) -> Path:
    """Upstream's API server, which verifies the node's certificate, and Kybern's controllers."""
    data = run.directory / "pki"
    authority = pki.load_or_create_authority(data, "ca", "kubernetes", Clock())
    authority.issue_client("kube-apiserver", ["system:masters"]).save(data, "kubelet-client")
    kubeconfig = upstream_lab.upstream_api_server(
        run,
        programs,
        "--enable-bootstrap-token-auth",
        # The lab's network has no default route by which an address could be found.
        "--advertise-address=192.0.2.1",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={data / 'ca.crt'}",
        f"--kubelet-client-certificate={data / 'kubelet-client.crt'}",
        f"--kubelet-client-key={data / 'kubelet-client.key'}",
    )
    run.kybern(
        "controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--cluster-signing-cert-file={data / 'ca.crt'}",
        f"--cluster-signing-key-file={data / 'ca.key'}",
    )
    return kubeconfig


async def _work(client: Client) -> None:
    """The node registers and asks for its serving certificate; a pod runs, is read, and goes."""

    async def ready() -> bool:
        return objects.condition_is(await client.get(NODES, "lab"), "Ready")

    async def logged(text: bytes) -> bool:
        path = "/api/v1/namespaces/default/pods/one/log"
        answer = await client.request("GET", path)
        return answer.status == 200 and text in answer.body

    async def served() -> bool:
        return await logged(b"hello\n")

    async def changed() -> bool:
        return await logged(b"green\n")

    async def account() -> bool:
        return bool(await client.get(SERVICE_ACCOUNTS, "default", "default"))

    async def asked() -> bool:
        return bool(await requested(client, SERVING))

    async def running() -> bool:
        return objects.condition_is(await client.get(PODS, "one", "default"), "Ready")

    async def gone() -> bool:
        found, _ = await client.list_all(PODS, "default")
        return not found

    await until(ready)
    await until(account)
    settings = {"metadata": {"name": "settings"}, "data": {"color": "blue"}}
    await client.create(CONFIG_MAPS, settings, "default")
    follow = "while ! grep -q green /v/color; do sleep 0.1; done; echo green; "
    mounts = [{"name": "v", "mountPath": "/v"}]
    container = shell("echo hello; " + follow + STAY, volumeMounts=mounts)
    pod = {
        "metadata": {"name": "one"},
        "spec": {
            "nodeName": "lab",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [{"name": "v", "configMap": {"name": "settings"}}],
        },
    }
    await client.create(PODS, pod, "default")
    await until(running)
    await until(asked)
    assert not await served()
    [request] = await requested(client, SERVING)
    assert request["spec"]["username"] == "system:node:lab"
    await decide(client, request["metadata"]["name"], "Approved")
    await until(served)
    await client.patch(CONFIG_MAPS, "settings", {"data": {"color": "green"}}, "default")
    await until(changed)
    await client.delete(PODS, "one", "default")
    await until(gone)
