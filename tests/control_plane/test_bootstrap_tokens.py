"""Bootstrap tokens end with their time and sign the public cluster information."""

import asyncio
import base64
import hashlib
import hmac

import jwt
import pytest

from kybern.api.errors import Obj
from kybern.api.resources import CONFIG_MAPS, SECRETS
from kybern.client import Client
from kybern.component.clock import rfc3339
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time

KUBECONFIG = "clusters: []\n"
SIGNATURE = "jws-kubeconfig-abcdef"


def token(**data: str) -> Obj:
    entries = {"token-id": "abcdef", "token-secret": "0123456789abcdef", **data}
    meta = {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    return {"metadata": meta, "type": "bootstrap.kubernetes.io/token", "stringData": entries}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def cluster_info(client: Client) -> Obj:
    found = await client.get(CONFIG_MAPS, "cluster-info", "kube-public")
    data: Obj = found["data"]
    return data


async def test_a_token_is_deleted_when_its_time_is_over() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:
        client, clock = cluster.client, cluster.clock
        await client.create(SECRETS, token(expiration=rfc3339(clock.time() + 600)))

        async def gone() -> bool:
            found = await client.list(SECRETS, "kube-system")
            return not found["items"]

        await asyncio.sleep(590)
        assert not await gone()
        await asyncio.sleep(20)
        await cluster.wait_until(gone)


async def test_a_signing_token_vouches_for_the_cluster_information() -> None:
    async with Cluster(nodes=0, scheduler=False) as cluster:
        client = cluster.client
        meta = {"name": "cluster-info", "namespace": "kube-public"}
        info = {"metadata": meta, "data": {"kubeconfig": KUBECONFIG, "other": "kept"}}
        await client.create(CONFIG_MAPS, info)
        await client.create(SECRETS, token(**{"usage-bootstrap-signing": "true"}))

        async def signed() -> bool:
            return SIGNATURE in await cluster_info(client)

        async def unsigned() -> bool:
            return not await signed()

        await cluster.wait_until(signed)
        data = await cluster_info(client)
        assert data["other"] == "kept"
        header = jwt.get_unverified_header(data[SIGNATURE])
        assert header == {"alg": "HS256", "kid": "abcdef"}
        head, mac = data[SIGNATURE].split("..")
        signed_text = f"{head}.{base64url(KUBECONFIG.encode())}".encode()
        digest = hmac.new(b"0123456789abcdef", signed_text, hashlib.sha256).digest()
        assert mac == base64url(digest)
        await client.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
        await cluster.wait_until(unsigned)
