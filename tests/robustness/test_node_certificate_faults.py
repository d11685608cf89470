"""A kubelet that is killed while it waits for its certificate goes on with its own request."""

from pathlib import Path

from containerd_lab import needs_containerd, open_runtime, until
from node_process import NodeProcess

from certificate_lab import TOKEN, decide, let_nodes_join, requested, signing
from kybern.api.resources import CLUSTER_ROLE_BINDINGS
from kybern.apiserver.config import Config
from kybern.component.kubeconfig import Access, load_access, write_kubeconfig
from kybern.testing import Cluster

pytestmark = needs_containerd

TOKENS = Config(enable_bootstrap_token_auth=True)


async def test_a_kubelet_killed_while_it_waits_for_a_certificate_asks_no_twice() -> None:
    async with (
        open_runtime() as (containerd, directory),
        Cluster(nodes=0, serve=True, controllers=False, api_server=TOKENS) as cluster,
        signing(cluster, cluster.kubeconfig.parent / "pki"),
    ):
        await let_nodes_join(cluster.client)
        # The first certificate is for somebody to approve.
        await cluster.client.delete(CLUSTER_ROLE_BINDINGS, "first")
        node = NodeProcess(cluster, containerd, directory)
        flags = bootstrap(cluster, directory)
        async with node.ending():
            node.start(*flags)

            async def asked() -> bool:
                return bool(await requested(cluster.client))

            await until(asked, "a certificate is asked for")
            node.kill()
            node.start(*flags)
            [request] = await requested(cluster.client)
            await decide(cluster.client, request["metadata"]["name"], "Approved")
            await node.ready()
            assert len(await requested(cluster.client)) == 1


def bootstrap(cluster: Cluster, directory: Path) -> list[str]:
    known = load_access(str(cluster.kubeconfig))
    write_kubeconfig(directory / "bootstrap", Access(known.server, known.ca, token=TOKEN))
    return [f"--bootstrap-kubeconfig={directory / 'bootstrap'}", "--rotate-certificates"]
