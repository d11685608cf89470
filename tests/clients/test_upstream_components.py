"""Kybern and upstream are interchangeable part by part: either works against the other's half."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import upstream_lab
from upstream_lab import Processes

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from kybern.client import Client
from kybern.component.clock import Clock
from running_cluster import PATIENCE_SECONDS, until

SPEC = {"containers": [{"name": "main", "image": "app:1"}]}


async def test_upstreams_controllers_and_scheduler_work_on_this_api_server(tmp_path: Path) -> None:
    programs = upstream_lab.binaries("kube-controller-manager", "kube-scheduler")
    with upstream_lab.processes(tmp_path) as run:
        kubeconfig = upstream_lab.kybern_api_server(run)
        async with connected(run, kubeconfig) as client:
            upstream_lab.upstream_control_loops(run, programs, kubeconfig)
            run.kybern("hollow", f"--kubeconfig={kubeconfig}", "--simulated-nodes=2")
            await work_is_done(client)
            assert run.dead() == []


async def test_these_controllers_and_scheduler_work_on_upstreams_api_server(tmp_path: Path) -> None:
    programs = upstream_lab.binaries("kube-apiserver", "etcd")
    with upstream_lab.processes(tmp_path) as run:
        kubeconfig = upstream_lab.upstream_api_server(run, programs)
        async with connected(run, kubeconfig) as client:
            run.kybern("controller-manager", "scheduler", f"--kubeconfig={kubeconfig}")
            run.kybern("hollow", f"--kubeconfig={kubeconfig}", "--simulated-nodes=2")
            await work_is_done(client)
            assert run.dead() == []


async def work_is_done(client: Client) -> None:
    """Nodes join; a Deployment and a Job run; owners and namespaces take what is theirs along."""
    await until(lambda: ready_nodes(client, 2))
    await client.create(NAMESPACES, {"metadata": {"name": "work"}})
    await exists(client, SERVICE_ACCOUNTS, "default")
    await client.create(DEPLOYMENTS, deployment("web"), "work")
    await client.create(JOBS, job("once"), "work")
    await until(lambda: available(client, "web", 3))
    await until(lambda: complete(client, "once"))

    await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, "work")
    await until(lambda: available(client, "web", 1))

    await client.delete(DEPLOYMENTS, "web", "work", propagation_policy="Background")
    await until(lambda: none_left(client, REPLICA_SETS, "app=web"))
    await until(lambda: none_left(client, PODS, "app=web"))

    await client.delete(NAMESPACES, "work")
    await until(lambda: gone(client, NAMESPACES, "work"))


@asynccontextmanager
async def connected(run: Processes, kubeconfig: Path) -> AsyncIterator[Client]:
    """A client of an API server that is being started, from when the server is ready."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not kubeconfig.exists():
            assert run.dead() == []
            await asyncio.sleep(0.05)
    client = Client.from_kubeconfig(str(kubeconfig), Clock())

    async def ready() -> bool:
        assert run.dead() == []
        return (await client.request("GET", "/readyz")).status == 200

    try:
        await until(ready)
        yield client
    finally:
        await client.close()


def deployment(name: str) -> Obj:
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": SPEC},
        },
    }


def job(name: str) -> Obj:
    template = {"spec": {**SPEC, "restartPolicy": "Never"}}
    return {"metadata": {"name": name}, "spec": {"completions": 2, "template": template}}


async def ready_nodes(client: Client, count: int) -> bool:
    nodes, _ = await client.list_all(NODES)
    ready = [
        condition["status"]
        for node in nodes
        for condition in node["status"].get("conditions", ())
        if condition["type"] == "Ready"
    ]
    return ready == ["True"] * count


async def exists(client: Client, resource: Resource, name: str) -> None:
    async def found() -> bool:
        return bool(await client.get(resource, name, "work"))

    await until(found)


async def available(client: Client, name: str, replicas: int) -> bool:
    found = await client.get(DEPLOYMENTS, name, "work")
    status = found["status"]
    return status.get("observedGeneration") == found["metadata"]["generation"] and status.get(
        "availableReplicas"
    ) == replicas == status.get("replicas")


async def complete(client: Client, name: str) -> bool:
    found = await client.get(JOBS, name, "work")
    conditions = found["status"].get("conditions", ())
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)


async def none_left(client: Client, resource: Resource, selector: str) -> bool:
    found, _ = await client.list_all(resource, "work", label_selector=selector)
    return not found


async def gone(client: Client, resource: Resource, name: str) -> bool:
    try:
        await client.get(resource, name)
    except StatusError as error:
        if error.code == 404:
            return True
        raise
    return False
