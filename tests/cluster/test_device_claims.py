"""Devices by claim on a real node: allocated, prepared by a driver, seen in containers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from containerd_lab import needs_containerd, until
from storage_lab import NODE, StorageLab, open_storage_lab, pod

from kybern.api.errors import Obj
from kybern.api.resources import (
    DEVICE_CLASSES,
    EVENTS,
    PODS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
)
from kybern.kubelet.devices import cdi, slices
from kybern.kubelet.devices.claim_drivers import dra, dra_health
from kybern.kubelet.plugins.registry import protocol as registration
from kybern.rpc.server import RpcServer, serve

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

DRIVER = "lights.example.com"
RED = {"name": "red"}


@dataclass
class Driver:
    """A driver as vendors write one: two sockets, and a CDI specification for each claim."""

    directory: Path
    registry: Path
    specs: Path
    prepared: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    failure: str = ""
    requests: tuple[str, ...] = ("light",)
    servers: list[RpcServer] = field(default_factory=list)
    publish: Callable[[], Awaitable[None]] | None = None
    health: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)

    async def start(self) -> None:
        for directory in (self.directory, self.registry, self.specs):
            directory.mkdir(parents=True, exist_ok=True)
        functions = {
            "NodePrepareResources": self.prepare,
            "NodeUnprepareResources": self.unprepare,
        }
        own = self.directory / "dra.sock"
        watch = {"NodeWatchResources": self.watch}
        also = (dra_health, "DRAResourceHealth", watch)
        self.servers.append(await serve(own, dra, "DRAPlugin", functions, also))
        functions = {"GetInfo": self.info, "NotifyRegistrationStatus": self.told}
        socket = self.registry / f"{DRIVER}-reg.sock"
        self.servers.append(await serve(socket, registration, "Registration", functions))

    async def stop(self) -> None:
        (self.registry / f"{DRIVER}-reg.sock").unlink(missing_ok=True)
        while self.servers:
            await self.servers.pop().close()

    async def info(self, request: Any) -> Any:
        return registration.PluginInfo(
            type="DRAPlugin",
            name=DRIVER,
            endpoint=str(self.directory / "dra.sock"),
            supported_versions=["v1.DRAPlugin"],
        )

    async def told(self, request: Any) -> Any:
        if request.plugin_registered and self.publish is not None:
            await self.publish()
        return registration.RegistrationStatusResponse()

    async def watch(self, request: Any) -> AsyncIterator[Any]:
        while True:
            yield await self.health.get()

    def say(self, health: int, message: str = "") -> None:
        """How the light is."""
        answer = dra_health.NodeWatchResourcesResponse()
        one = answer.devices.add(health=health, message=message)
        one.device.pool_name, one.device.device_name = NODE, "red"
        self.health.put_nowait(answer)

    async def prepare(self, request: Any) -> Any:
        answer = dra.NodePrepareResourcesResponse()
        for claim in request.claims:
            self.calls.append(f"prepare {claim.name}")
            result = answer.claims[claim.uid]
            if self.failure:
                result.error = self.failure
                continue
            self.prepared.append(claim.uid)
            name = f"{DRIVER}/claim={claim.uid}"
            self._specify(claim.uid)
            result.devices.add(
                request_names=self.requests,
                pool_name=NODE,
                device_name="red",
                cdi_device_ids=[name],
            )
        return answer

    async def unprepare(self, request: Any) -> Any:
        answer = dra.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            self.calls.append(f"unprepare {claim.name}")
            if claim.uid in self.prepared:
                self.prepared.remove(claim.uid)
            (self.specs / f"{claim.uid}.json").unlink(missing_ok=True)
            answer.claims[claim.uid].error = ""
        return answer

    def _specify(self, uid: str) -> None:
        edits = {
            "env": ["LIGHT=red"],
            "deviceNodes": [{"path": "/dev/light", "hostPath": "/dev/null"}],
            "mounts": [
                {"hostPath": str(self.directory), "containerPath": "/light", "options": ["ro"]}
            ],
        }
        spec = {
            "cdiVersion": "0.6.0",
            "kind": f"{DRIVER}/claim",
            "devices": [{"name": uid, "containerEdits": edits}],
        }
        (self.specs / f"{uid}.json").write_bytes(orjson.dumps(spec))


@dataclass
class Site:
    lab: StorageLab
    driver: Driver


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site() -> AsyncIterator[Site]:
    patch = pytest.MonkeyPatch()
    async with open_storage_lab() as lab:
        driver = Driver(lab.directory / "dra", lab.root / "plugins_registry", lab.directory / "cdi")
        patch.setattr(cdi, "DIRECTORIES", (driver.specs,))

        async def publish() -> None:
            """The driver's slices, as it makes them whenever it registers."""
            found, _ = await lab.client.list_all(RESOURCE_SLICES)
            if not found:
                pool = {"name": NODE, "generation": 1, "resourceSliceCount": 1}
                spec = {"driver": DRIVER, "nodeName": NODE, "pool": pool}
                made = {"metadata": {"name": "lights"}, "spec": {**spec, "devices": [RED]}}
                await lab.client.create(RESOURCE_SLICES, made)

        driver.publish = publish
        await driver.start()
        lights = {"metadata": {"name": "lights"}, "spec": {}}
        await lab.client.create(DEVICE_CLASSES, lights)
        request = {"name": "light", "exactly": {"deviceClassName": "lights"}}
        template: Obj = {"metadata": {"name": "light"}}
        template["spec"] = {"spec": {"devices": {"requests": [request]}}}
        await lab.client.create(RESOURCE_CLAIM_TEMPLATES, template, "default")
        try:
            yield Site(lab, driver)
        finally:
            await driver.stop()
            patch.undo()


def lit(name: str) -> Obj:
    """A pod whose container uses a light."""
    made = pod(name)
    made["spec"]["resourceClaims"] = [{"name": "light", "resourceClaimTemplateName": "light"}]
    made["spec"]["containers"][0]["resources"] = {"claims": [{"name": "light"}]}
    return made


async def test_a_claim_is_prepared_before_its_pod_and_given_back_after_it(site: Site) -> None:
    lab, driver = site.lab, site.driver
    await lab.client.create(PODS, lit("first"), "default")
    placed = await lab.ready("first")
    claim = placed["status"]["resourceClaimStatuses"][0]["resourceClaimName"]
    assert await lab.exec("first", "echo $LIGHT; test -c /dev/light && ls -d /light") == (
        "red\n/light\n"
    )
    assert driver.calls == [f"prepare {claim}"]
    # The kubelet starts again and knows what it has had prepared.
    await lab.stop_kubelet()
    await lab.start_kubelet()
    await lab.remove("first")
    assert driver.calls == [f"prepare {claim}", f"unprepare {claim}"]
    assert not driver.prepared and not list(driver.specs.iterdir())
    await lab.cluster.wait_gone(RESOURCE_CLAIMS, claim)


async def test_a_status_shows_how_its_devices_are(site: Site) -> None:
    lab, driver = site.lab, site.driver
    await lab.client.create(PODS, lit("shown"), "default")
    await lab.ready("shown")

    def shows(**expected: str) -> Callable[[Obj], bool]:
        def holds(found: Obj) -> bool:
            (status,) = found["status"]["containerStatuses"]
            (light,) = status["allocatedResourcesStatus"]
            (device,) = light["resources"]
            identity = device.pop("resourceID")
            assert light["name"] == "claim:light" and identity.startswith(f"{DRIVER}/claim=")
            return device == expected

        return holds

    await lab.cluster.wait_for(PODS, "shown", shows(health="Unknown"))
    driver.say(dra_health.HEALTHY)
    await lab.cluster.wait_for(PODS, "shown", shows(health="Healthy"))
    driver.say(dra_health.UNHEALTHY, "too hot")
    await lab.cluster.wait_for(PODS, "shown", shows(health="Unhealthy", message="too hot"))
    await lab.remove("shown")


async def test_devices_of_a_driver_that_is_gone_are_taken_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, driver = site.lab, site.driver
    monkeypatch.setattr(slices, "GRACE_SECONDS", 0.2)
    await lab.cluster.wait_for(RESOURCE_SLICES, "lights")
    await driver.stop()
    await lab.cluster.wait_gone(RESOURCE_SLICES, "lights")
    await driver.start()
    await lab.cluster.wait_for(RESOURCE_SLICES, "lights")


async def test_a_driver_that_fails_is_asked_again(site: Site) -> None:
    lab, driver = site.lab, site.driver
    driver.failure = "the bulb is broken"
    await lab.client.create(PODS, lit("second"), "default")

    async def told() -> bool:
        events, _ = await lab.client.list_all(EVENTS, "default")
        messages = [e["message"] for e in events if e["reason"] == "FailedPrepareDynamicResources"]
        return any("the bulb is broken" in message for message in messages)

    await until(told, "the failure is an event")
    driver.failure = ""
    await lab.ready("second")
    await lab.remove("second")
    assert not driver.prepared


async def test_a_pod_waits_for_a_driver_that_is_away(site: Site) -> None:
    lab, driver = site.lab, site.driver
    await driver.stop()
    await lab.client.create(PODS, lit("third"), "default")

    async def told() -> bool:
        events, _ = await lab.client.list_all(EVENTS, "default")
        return any(f"DRA driver {DRIVER} is not registered" in e["message"] for e in events)

    await until(told, "the missing driver is an event")
    await driver.start()
    await lab.ready("third")
    await lab.remove("third")
    assert not driver.prepared


async def test_an_extended_resource_of_a_class_is_a_device_of_a_claim(site: Site) -> None:
    lab, driver = site.lab, site.driver
    driver.requests = ("container-0-request-0",)
    made = pod("bright")
    lights = {"deviceclass.resource.kubernetes.io/lights": "1"}
    made["spec"]["containers"][0]["resources"] = {"requests": lights, "limits": lights}
    await lab.client.create(PODS, made, "default")
    placed = await lab.ready("bright")
    assert await lab.exec("bright", "echo $LIGHT; test -c /dev/light && ls -d /light") == (
        "red\n/light\n"
    )
    claim = placed["status"]["extendedResourceClaimStatus"]["resourceClaimName"]
    assert f"prepare {claim}" in driver.calls
    await lab.remove("bright")
    assert f"unprepare {claim}" in driver.calls
    await lab.cluster.wait_gone(RESOURCE_CLAIMS, claim)
