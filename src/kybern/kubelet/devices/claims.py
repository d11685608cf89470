"""Has resource claims prepared before their pods start, and given back when the last has ended.

A pod's sync asks for ``prepare`` before there is a sandbox, a starting container for its
``access``, the end of the pod for ``release``. What drivers are asked for stands in a file before
they are asked, so that a kubelet that was killed in between still gives it back (KEP 4381).
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from kybern.api.errors import Obj, StatusError
from kybern.api.resource_claims import (
    extended_claim_name,
    extended_requests,
    is_reserved,
    resource_claim_names,
    results,
)
from kybern.component.clock import Clock
from kybern.kubelet.cri.client import Runtime, cri
from kybern.kubelet.devices import cdi
from kybern.kubelet.devices.access import Access, DeviceError
from kybern.kubelet.devices.claim_drivers import ClaimDrivers, dra
from kybern.kubelet.devices.health import DeviceHealth
from kybern.kubelet.objects import Objects
from kybern.kubelet.pods import spec
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

FILE = "dra_manager_state"


class Claims:
    """The claims that pods of this node use, by UID."""

    def __init__(
        self, objects: Objects, drivers: ClaimDrivers, runtime: Runtime, root: Path, clock: Clock
    ) -> None:
        self.drivers = drivers
        self.on_change: Callable[[str], None] = lambda uid: None
        self._health = DeviceHealth(clock)
        drivers.on_health = self._told
        self._objects, self._runtime = objects, runtime
        self._file = root / FILE
        # Each: name, namespace, the pods' UIDs, and by driver the devices, None until prepared.
        self._known: dict[str, Obj] = {}
        self._changing = asyncio.Lock()

    def load(self) -> None:
        """Read what an earlier kubelet had prepared. Blocks."""
        try:
            self._known = orjson.loads(self._file.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, orjson.JSONDecodeError) as error:
            logger.warning("%s is not readable, claims are prepared anew: %s", self._file, error)

    async def prepare(self, pod: Obj) -> None:
        """Have all claims of the pod prepared; raises DeviceError, and may be tried again."""
        if not pod["spec"].get("resourceClaims") and not extended_claim_name(pod):
            return
        async with self._changing:
            claims = [await self._checked(pod, name) for name in _names(pod)]
            for claim in claims:
                self._enter(pod, claim)
            await self._save()
            for claim in claims:
                await self._prepare(claim["metadata"]["uid"])
            await self._save()

    async def access(self, pod: Obj, container: Obj) -> Access:
        """How a container that starts now reaches the devices of its claims."""
        objects = dict(resource_claim_names(pod))
        extended = extended_claim_name(pod)
        wanted = [
            (objects.get(use["name"]) or "", use.get("request", ""))
            for use in (container.get("resources") or {}).get("claims") or ()
        ]
        wanted += [
            (extended, mapping["requestName"])
            for mapping in extended_requests(pod)
            if mapping["containerName"] == container["name"]
        ]
        names: list[str] = []
        for claim, request in wanted:
            for devices in self._of(pod, claim)["drivers"].values():
                for device in devices or ():
                    if _is_for(device, request):
                        names += [each for each in device["cdi"] if each not in names]
        return await self._reach(names)

    def health(self, pod: Obj, container: Obj) -> list[Obj]:
        """How the devices of a container's claims are, as its status shows it."""
        names = dict(resource_claim_names(pod))
        shown = []
        for use in (container.get("resources") or {}).get("claims") or ():
            request = use.get("request", "")
            try:
                held = self._of(pod, names.get(use["name"]) or "")
            except DeviceError:
                continue
            found: dict[str, Obj] = {}
            for driver, devices in held["drivers"].items():
                for device in devices or ():
                    if _is_for(device, request):
                        one = self._shown(driver, device)
                        found.setdefault(one["resourceID"], one)
            if found:
                name = f"claim:{use['name']}/{request}" if request else f"claim:{use['name']}"
                shown.append({"name": name, "resources": list(found.values())})
        return shown

    def _shown(self, driver: str, device: Obj) -> Obj:
        # Files of earlier versions do not say which device of the driver it is.
        pool, name = device.get("device") or ("", "")
        health = self._health.get(driver, (pool, name))
        identity = device["cdi"][0] if device["cdi"] else f"{driver}/{pool}/{name}"
        shown = {"resourceID": identity, "health": health.health}
        return {**shown, "message": health.message} if health.message else shown

    def _told(self, driver: str, devices: Any | None) -> None:
        """A driver has said something of its devices, or says nothing any more."""
        if devices is None:
            changed = self._health.forget(driver)
        else:
            changed = self._health.tell(driver, devices)
        for held in self._known.values():
            used = held["drivers"].get(driver) or ()
            if any(tuple(device.get("device") or ()) in changed for device in used):
                for uid in held["pods"]:
                    self.on_change(uid)

    async def release(self, uid: str) -> None:
        """The pod has ended; claims that no other pod here uses go back to their drivers."""
        if not any(uid in held["pods"] for held in self._known.values()):
            return
        async with self._changing:
            for claim_uid, held in list(self._known.items()):
                if uid not in held["pods"]:
                    continue
                if held["pods"] == [uid]:
                    for driver in held["drivers"]:
                        await self.drivers.get(driver).unprepare(_message(claim_uid, held))
                    del self._known[claim_uid]
                else:
                    held["pods"].remove(uid)
            await self._save()

    async def _checked(self, pod: Obj, name: str) -> Obj:
        """The claim as it is now, if the pod may use it and its drivers are here."""
        meta = pod["metadata"]
        try:
            claim = await self._objects.resource_claim(meta["namespace"], name)
        except StatusError as error:
            raise DeviceError(f"fetch ResourceClaim {name}: {error.message}") from error
        if claim is None:
            text = f'resourceclaims.resource.k8s.io "{name}" not found'
            raise DeviceError(f"fetch ResourceClaim {name}: {text}")
        uid = claim["metadata"]["uid"]
        if not is_reserved(claim, meta["uid"]):
            raise DeviceError(
                f"pod {meta['name']} ({meta['uid']}) is not allowed to use "
                f"ResourceClaim {name} ({uid})"
            )
        for result in results(claim):
            self.drivers.get(result["driver"])
        for other_uid, held in self._known.items():
            same = (held["namespace"], held["name"]) == (meta["namespace"], name)
            if same and other_uid != uid:
                raise DeviceError(
                    f"old ResourceClaim with same name {name} and different UID {other_uid} "
                    "still exists (previous pod force-deleted?!)"
                )
        return claim

    def _enter(self, pod: Obj, claim: Obj) -> None:
        meta = claim["metadata"]
        drivers = {result["driver"]: None for result in results(claim)}
        fresh = {"namespace": meta["namespace"], "name": meta["name"], "pods": []}
        held = self._known.setdefault(meta["uid"], {**fresh, "drivers": drivers})
        if spec.uid(pod) not in held["pods"]:
            held["pods"].append(spec.uid(pod))

    async def _prepare(self, uid: str) -> None:
        held = self._known[uid]
        for driver, devices in held["drivers"].items():
            if devices is None:
                prepared = await self.drivers.get(driver).prepare(_message(uid, held))
                held["drivers"][driver] = [
                    {
                        "requests": list(each.request_names),
                        "cdi": list(each.cdi_device_ids),
                        "device": [each.pool_name, each.device_name],
                    }
                    for each in prepared
                ]

    def _of(self, pod: Obj, name: str) -> Obj:
        namespace = pod["metadata"]["namespace"]
        for held in self._known.values():
            if (held["namespace"], held["name"]) == (namespace, name):
                return held
        raise DeviceError(f"unable to get claim info for claim {name} in namespace {namespace}")

    async def _reach(self, names: list[str]) -> Access:
        if not names:
            return Access()
        try:
            version = await self._runtime.version()
        except RpcError as error:
            raise DeviceError(f"asking the runtime for its version: {error}") from error
        if cdi.knows_names(version.runtime_name, version.runtime_version):
            return Access(named=[cri.CDIDevice(name=name) for name in names])
        return await asyncio.to_thread(cdi.resolve, names, cdi.DIRECTORIES)

    async def _save(self) -> None:
        await asyncio.to_thread(_write, self._file, orjson.dumps(self._known))


def _names(pod: Obj) -> list[str]:
    """The claims that the pod needs; raises DeviceError while one is not made."""
    names = []
    for entry, name in resource_claim_names(pod):
        if name is None:
            text = f'pod claim "{entry}": ResourceClaim not created yet'
            raise DeviceError(text)
        if name:
            names.append(name)
    extended = extended_claim_name(pod)
    return [*names, extended] if extended else names


def _is_for(device: Obj, request: str) -> bool:
    """Without request names a device serves all; an alternative serves its request."""
    if not request or not device["requests"]:
        return True
    return any(name.partition("/")[0] == request for name in device["requests"])


def _message(uid: str, held: Obj) -> Any:
    return dra.Claim(namespace=held["namespace"], name=held["name"], uid=uid)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(file)
