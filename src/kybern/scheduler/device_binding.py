"""Writes down which devices a pod's claims got, and waits until they are ready for it.

``prebind.py`` calls ``reserve`` in the background for pods with resource claims; what was decided
comes from ``promises.py``. A claim is written in two steps, as upstream does: the finalizer, then
the status with allocation and consumer. Failing is harmless: a promise that was not written is
forgotten, one that was written is given back. The claim for a pod's extended resources is made
here, and deleted if the pod does not get its node.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from kybern.api.errors import StatusError
from kybern.api.objects import key
from kybern.api.resource_claims import FINALIZER, is_allocated, is_reserved, resource_claim_names
from kybern.api.resources import RESOURCE_CLAIMS
from kybern.client import ApiUnreachable, Client
from kybern.component.clock import Clock
from kybern.scheduler.columns.storage import StorageObjects
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.pod_status import patch_status
from kybern.scheduler.promises import Promise

Obj = dict[str, Any]

READY_TIMEOUT_SECONDS = 600.0
ATTEMPTS = 5


class DevicesNotReady(Exception):
    """A claim cannot be used as promised; the text says why."""


class DeviceBinder:
    """Does it for all profiles."""

    def __init__(
        self, client: Client, clock: Clock, storage: StorageObjects, metrics: Metrics
    ) -> None:
        self._client, self._clock, self._storage = client, clock, storage
        self._metrics = metrics

    async def reserve(self, pod: Obj, promise: Promise, changed: "Changes") -> None:
        """Allocate and reserve all claims of the pod, and wait for their devices."""
        allocations = {
            key(claim): claim["status"]["allocation"] for claim in promise.resource_claims
        }
        names = [name for _, name in resource_claim_names(pod) if name]
        if promise.mappings:
            # The claim that is to be made comes last.
            imagined = promise.resource_claims[-1]
            made = await self._make(imagined)
            names.append(await self._keep(pod, imagined, made, promise.mappings))
        for name in names:
            at = f"{pod['metadata']['namespace']}/{name}"
            claim = self._storage.resource_claims.get(at)
            if claim is not None and (at in allocations or not is_reserved(claim, _uid(pod))):
                await self._write(pod, name, allocations.get(at))
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            while not all(self._is_ready(pod, name) for name in names):
                await changed.wait()

    async def _make(self, imagined: Obj) -> Obj:
        """The claim for extended resources, as an object."""
        meta = imagined["metadata"]
        wanted = {name: meta[name] for name in ("generateName", "annotations", "ownerReferences")}
        claim = {"metadata": wanted, "spec": imagined["spec"]}
        try:
            made = await self._client.create(RESOURCE_CLAIMS, claim, meta["namespace"])
        except Exception:
            self._metrics.made_claim(False)
            raise
        self._metrics.made_claim(True)
        return made

    async def _keep(self, pod: Obj, imagined: Obj, made: Obj, mappings: Sequence[Obj]) -> str:
        """Write what was promised into the claim, and the claim into the pod; returns its name.

        Its devices are seen as taken all the time, by one of the two claims or by both.
        """
        name: str = made["metadata"]["name"]
        try:
            written = await self._write(pod, name, imagined["status"]["allocation"])
            shown = self._storage.resource_claims.get(key(written))
            if shown is None or not is_allocated(shown):
                self._storage.assume(written)
            self._storage.forget(imagined)
            status = {"requestMappings": list(mappings), "resourceClaimName": name}
            await patch_status(self._client, pod, {"extendedResourceClaimStatus": status})
        except BaseException:
            with contextlib.suppress(StatusError, ApiUnreachable, ConnectionError, TimeoutError):
                await self.delete(made)
            raise
        return name

    async def delete(self, claim: Obj) -> None:
        """The claim for extended resources is of no use any more."""
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        try:
            held = await self._client.get(RESOURCE_CLAIMS, name, namespace)
            others = [
                each for each in held["metadata"].get("finalizers") or () if each != FINALIZER
            ]
            metadata = {**held["metadata"], "finalizers": others}
            await self._client.update(RESOURCE_CLAIMS, {**held, "metadata": metadata})
            uid = claim["metadata"]["uid"]
            await self._client.delete(RESOURCE_CLAIMS, name, namespace, uid=uid)
        except StatusError as error:
            if error.reason != "NotFound":
                raise

    async def release(self, pod: Obj) -> None:
        """The pod does not get its node: nothing is reserved for it any more."""
        for _, name in resource_claim_names(pod):
            claim = self._storage.resource_claims.get(f"{pod['metadata']['namespace']}/{name}")
            if claim is None or not is_reserved(claim, _uid(pod)):
                continue
            left = [c for c in claim["status"]["reservedFor"] if c["uid"] != _uid(pod)]
            await self._client.update_status(RESOURCE_CLAIMS, _with_status(claim, reservedFor=left))

    async def deallocate(self, claim: Obj) -> None:
        """The claim has no devices any more, and no consumers."""
        gone = ("allocation", "reservedFor", "devices")
        status = {name: held for name, held in claim["status"].items() if name not in gone}
        await self._client.update_status(RESOURCE_CLAIMS, {**claim, "status": status})

    async def _write(self, pod: Obj, name: str, devices: Obj | None) -> Obj:
        namespace = pod["metadata"]["namespace"]
        for attempt in range(ATTEMPTS):
            claim = await self._client.get(RESOURCE_CLAIMS, name, namespace)
            try:
                return await self._write_once(pod, claim, devices)
            except StatusError as error:
                if error.reason != "Conflict" or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _write_once(self, pod: Obj, claim: Obj, devices: Obj | None) -> Obj:
        shown = key(claim)
        if "deletionTimestamp" in claim["metadata"]:
            raise DevicesNotReady(f"claim {shown} got deleted in the meantime")
        if devices is None and not is_allocated(claim):
            raise DevicesNotReady(f"claim {shown} got deallocated elsewhere in the meantime")
        if devices is not None and is_allocated(claim):
            raise DevicesNotReady(f"claim {shown} got allocated elsewhere in the meantime")
        if devices is not None and FINALIZER not in (claim["metadata"].get("finalizers") or ()):
            finalizers = [*(claim["metadata"].get("finalizers") or ()), FINALIZER]
            metadata = {**claim["metadata"], "finalizers": finalizers}
            claim = await self._client.update(RESOURCE_CLAIMS, {**claim, "metadata": metadata})
        given = devices if devices is not None else claim["status"]["allocation"]
        given = {"allocationTimestamp": self._clock.timestamp(), **given}
        meta = pod["metadata"]
        consumer = {"resource": "pods", "name": meta["name"], "uid": meta["uid"]}
        others = (claim.get("status") or {}).get("reservedFor") or ()
        if not is_reserved(claim, meta["uid"]):
            others = (*others, consumer)
        written = _with_status(claim, allocation=given, reservedFor=list(others))
        return await self._client.update_status(RESOURCE_CLAIMS, written)

    def _is_ready(self, pod: Obj, name: str) -> bool:
        """The claim is seen as written, and its devices' drivers say that they are ready."""
        claim = self._storage.resource_claims.get(f"{pod['metadata']['namespace']}/{name}")
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            raise DevicesNotReady(f"claim {name} got deleted in the meantime")
        if self._storage.is_assumed(claim):
            return False
        return devices_are_ready(claim)


class Changes:
    """Wakes everybody who waits when claims change."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    def happened(self) -> None:
        self._happened.set()
        self._happened = asyncio.Event()

    async def wait(self) -> None:
        await self._happened.wait()


def devices_are_ready(claim: Obj) -> bool:
    """All binding conditions hold (KEP 5007); raises DevicesNotReady where one says failure."""
    status = claim["status"]
    reported = {
        (held["driver"], held["pool"], held["device"]): _conditions(held)
        for held in status.get("devices") or ()
    }
    for result in status["allocation"]["devices"].get("results") or ():
        device = (result["driver"], result["pool"], result["device"])
        conditions = reported.get(device, {})
        for failure in result.get("bindingFailureConditions") or ():
            if conditions.get(failure) == "True":
                raise DevicesNotReady(f"claim {key(claim)} binding failed")
        if any(conditions.get(each) != "True" for each in result.get("bindingConditions") or ()):
            return False
    return True


def _conditions(held: Obj) -> Mapping[str, str]:
    return {each["type"]: each["status"] for each in held.get("conditions") or ()}


def _with_status(claim: Obj, **fields: Any) -> Obj:
    return {**claim, "status": {**(claim.get("status") or {}), **fields}}


def _uid(pod: Obj) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid
