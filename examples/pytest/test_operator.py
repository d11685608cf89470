"""An operator under test: it keeps a ConfigMap beside every Service labelled ``notes=yes``.

Run by bin/test, and by anyone who installed Kybern: ``pytest examples/pytest``.
"""

import asyncio
import contextlib

import pytest

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import CONFIG_MAPS, DEPLOYMENTS, SERVICES
from kybern.client import Client


async def operator(client: Client) -> None:
    """The code under test: nothing in it knows of Kybern but the client."""
    services = client.watch(SERVICES, label_selector="notes=yes", resource_version="0")
    async with contextlib.aclosing(services):
        async for event in services:
            if event["type"] not in ("ADDED", "MODIFIED"):
                continue
            service = event["object"]
            note = {
                "metadata": {
                    "name": f"{objects.name(service)}-notes",
                    "namespace": objects.namespace(service),
                    "ownerReferences": [objects.controller_reference(service)],
                },
                "data": {"ports": str([port["port"] for port in service["spec"]["ports"]])},
            }
            with contextlib.suppress(StatusError):
                await client.create(CONFIG_MAPS, note)


@pytest.mark.virtual_time
async def test_a_note_appears_and_goes_with_its_service(kybern_cluster) -> None:
    client = kybern_cluster.client
    running = asyncio.create_task(operator(client))
    meta = {"name": "web", "namespace": "default", "labels": {"notes": "yes"}}
    await client.create(SERVICES, {"metadata": meta, "spec": {"ports": [{"port": 80}]}})
    note = await kybern_cluster.wait_for(CONFIG_MAPS, "web-notes")
    assert note["data"] == {"ports": "[80]"}
    await client.delete(SERVICES, "web", "default")
    await kybern_cluster.wait_gone(CONFIG_MAPS, "web-notes")
    running.cancel()


@pytest.mark.virtual_time
@pytest.mark.kybern(nodes=0)
async def test_ten_minutes_pass_in_a_moment(kybern_cluster) -> None:
    """Without nodes nothing gets ready; after its deadline the rollout says so."""
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": "web", "namespace": "default"}
    await kybern_cluster.client.create(DEPLOYMENTS, {"metadata": meta, "spec": spec})

    def given_up(deployment: dict) -> bool:
        progressing = objects.condition(deployment, "Progressing") or {}
        return progressing.get("reason") == "ProgressDeadlineExceeded"

    await kybern_cluster.wait_for(DEPLOYMENTS, "web", given_up, patience=700)


def test_any_other_client_finds_a_kubeconfig(kybern_server) -> None:
    from kubernetes import client, config

    api = client.CoreV1Api(config.new_client_from_config(str(kybern_server.kubeconfig)))
    nodes = api.list_node().items
    api.api_client.close()
    assert [node.metadata.name for node in nodes] == ["simulated-0"]
