"""Without priority and fairness, requests above two numbers are turned away."""

import asyncio

from stalled_store import StalledStore

from kybern.api.resources import CONFIG_MAPS
from kybern.api.user import ADMIN, UserInfo
from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.client import Client
from kybern.component.clock import Clock

PATH = CONFIG_MAPS.path("default")


async def test_writes_above_the_limit_get_429_and_others_pass() -> None:
    clock, store = Clock(1), StalledStore()
    config = Config(max_mutating_requests_inflight=2, enable_priority_and_fairness=False)
    server = ApiServer(config, store, clock)
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
    assert refused.body == b"Too many requests, please try again later.\n"
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
