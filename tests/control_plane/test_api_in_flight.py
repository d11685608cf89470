"""A server that has too much to do turns requests away, and says when to come back."""

import asyncio

from kybern.api.resources import CONFIG_MAPS
from kybern.api.user import ADMIN, UserInfo
from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.client import Client
from kybern.component.clock import Clock
from kybern.store.memory import MemoryStore

PATH = CONFIG_MAPS.path("default")


class StalledStore(MemoryStore):
    """Keeps creations of config maps waiting until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.open = asyncio.Event()

    async def create(self, key, value):  # type: ignore[no-untyped-def]
        if "/configmaps/" in key:
            self.waiting += 1
            await self.open.wait()
        return await super().create(key, value)


async def test_writes_above_the_limit_get_429_and_others_pass() -> None:
    clock, store = Clock(1), StalledStore()
    server = ApiServer(Config(max_mutating_requests_inflight=2), store, clock)
    await server.start()
    writer = UserInfo("jane", ("writers",))
    client = Client.in_process(server.handler, writer, clock)
    admin = Client.in_process(server.handler, ADMIN, clock)
    await admin.request("POST", ROLE_PATH, body=ROLE)
    await admin.request("POST", BINDING_PATH, body=BINDING)

    def write(by: Client, name: str):  # type: ignore[no-untyped-def]
        return asyncio.create_task(by.request("POST", PATH, body={"metadata": {"name": name}}))

    held = [write(client, "one"), write(client, "two")]
    while store.waiting < 2:
        await asyncio.sleep(0)
    refused = await client.request("POST", PATH, body={"metadata": {"name": "three"}})
    assert refused.status == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["reason"] == "TooManyRequests"
    assert (await client.request("GET", PATH)).status == 200
    favoured = write(admin, "four")
    while store.waiting < 3:
        await asyncio.sleep(0)
    store.open.set()
    assert [(await one).status for one in (*held, favoured)] == [201, 201, 201]
    assert (await write(client, "five")).status == 201
    await server.close()


ROLE_PATH = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDING_PATH = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
ROLE = {
    "metadata": {"name": "writers"},
    "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}],
}
BINDING = {
    "metadata": {"name": "writers"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "writers",
    },
    "subjects": [{"kind": "Group", "name": "writers", "apiGroup": "rbac.authorization.k8s.io"}],
}
