"""Stores on etcd for API servers: each with the objects that every cluster has, ready at once."""

import asyncio
import uuid

import api_lab
import pytest

from etcd_process import Etcd
from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.component.clock import Clock
from kybern.rpc.etcd import EtcdClient, proto
from kybern.store.etcd import EtcdStore

ROOT = "/registry"
# As many as etcd takes at once.
OPERATIONS = 128


@pytest.fixture(scope="session")
def bootstrapped(etcd: Etcd) -> str:
    """A prefix under which a server has made its first objects."""

    async def bootstrap() -> None:
        store = EtcdStore(etcd.client(), root=ROOT, prefix="/bootstrapped")
        server = ApiServer(Config(), store, Clock())
        await server.start()
        await server.close()
        await store.close()

    asyncio.run(bootstrap())
    return "/bootstrapped"


async def copy_prefix(client: EtcdClient, source: str, target: str) -> None:
    """Give a new prefix what another one has."""
    start = source.encode() + b"/"
    everything = proto.RangeRequest(key=start, range_end=source.encode() + b"0")
    found = (await client.call("KV", "Range", everything, repeatable=True)).kvs
    puts = [
        proto.PutRequest(key=target.encode() + b"/" + kv.key[len(start) :], value=kv.value)
        for kv in found
    ]
    for at in range(0, len(puts), OPERATIONS):
        operations = [proto.RequestOp(request_put=put) for put in puts[at : at + OPERATIONS]]
        await client.call("KV", "Txn", proto.TxnRequest(success=operations), repeatable=True)


@pytest.fixture
def etcd_prefix(etcd: Etcd, bootstrapped: str) -> str:
    """A prefix of the test's own, with the first objects."""
    prefix = f"/{uuid.uuid4()}"

    async def copy() -> None:
        client = etcd.client()
        await copy_prefix(client, bootstrapped, prefix)
        await client.close()

    asyncio.run(copy())
    return prefix


@pytest.fixture(params=["memory", "etcd"])
def each_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test of ``api_lab.serving`` in memory and on etcd."""
    if request.param == "memory":
        return
    etcd: Etcd = request.getfixturevalue("etcd")
    prefix: str = request.getfixturevalue("etcd_prefix")
    monkeypatch.setattr(
        api_lab, "open_store", lambda: EtcdStore(etcd.client(), root=ROOT, prefix=prefix)
    )
