"""A cluster whose controllers sign certificates, and the rules by which nodes get them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kybern.api.errors import Obj
from kybern.api.resources import CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS, SECRETS
from kybern.api.user import AUTHENTICATED_GROUP, UserInfo
from kybern.client import Client
from kybern.controllers import main as controllers
from kybern.controllers.config import Config
from kybern.testing import Cluster

TOKEN = "abcdef.0123456789abcdef"
BOOTSTRAPPERS = "system:bootstrappers"
_REQUESTS = "system:certificates.k8s.io:certificatesigningrequests"


@asynccontextmanager
async def signing(cluster: Cluster, directory: Path, life: float = 0.0) -> AsyncIterator[None]:
    """Run the controllers with the CA in ``directory``; certificates live for ``life`` seconds."""
    config = Config(
        leader_elect=False,
        cluster_signing_cert_file=str(directory / "ca.crt"),
        cluster_signing_key_file=str(directory / "ca.key"),
    )
    if life:
        config.cluster_signing_duration = life
    manager = UserInfo("system:kube-controller-manager", (AUTHENTICATED_GROUP,))
    task = asyncio.create_task(controllers.run(cluster.client_as(manager), cluster.clock, config))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _bind(client: Client, name: str, role: str, group: str) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    await client.create(CLUSTER_ROLE_BINDINGS, binding)


async def let_nodes_join(client: Client) -> None:
    """What setting a cluster up leaves: a bootstrap token, and who may have which certificate."""
    await _bind(client, "join", "system:node-bootstrapper", BOOTSTRAPPERS)
    await _bind(client, "first", f"{_REQUESTS}:nodeclient", BOOTSTRAPPERS)
    await _bind(client, "renew", f"{_REQUESTS}:selfnodeclient", "system:nodes")
    key, secret = TOKEN.split(".")
    data = {"token-id": key, "token-secret": secret, "usage-bootstrap-authentication": "true"}
    meta = {"name": f"bootstrap-token-{key}", "namespace": "kube-system"}
    made = {"metadata": meta, "type": "bootstrap.kubernetes.io/token", "stringData": data}
    await client.create(SECRETS, made)


async def decide(client: Client, name: str, verdict: str) -> None:
    """Approve or deny a request, as an administrator does."""
    held = await client.get(CERTIFICATE_SIGNING_REQUESTS, name)
    decision = {"type": verdict, "status": "True", "reason": "Asked", "message": "By hand"}
    held["status"] = {"conditions": [decision]}
    await client.update(CERTIFICATE_SIGNING_REQUESTS, held, subresource="approval")


async def requested(client: Client, signer: str = "") -> list[Obj]:
    """The signing requests (to one signer), the oldest first."""
    found, _ = await client.list_all(CERTIFICATE_SIGNING_REQUESTS)
    wanted = [one for one in found if signer in ("", one["spec"]["signerName"])]
    return sorted(wanted, key=lambda one: one["metadata"]["creationTimestamp"])
