"""The writes of the binder: binding in four steps, unbinding, and phases.

A binding is: the volume refers to the claim, the volume is Bound, the claim names the volume, the
claim is Bound. Each step writes only what is not so yet, so a binding that was cut off is
finished by doing it again. After every write the informer has caught up, so that the next
decision is made on it.
"""

from kybern.api import objects, volumes
from kybern.api.errors import Obj
from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kybern.client import Client, EventRecorder, Informer

PRE_RESIZE_CAPACITY = "volume.alpha.kubernetes.io/pre-resize-capacity"


class Bindings:
    """Writes claims and volumes as the binder decides."""

    def __init__(
        self, client: Client, claims: Informer, known_volumes: Informer, recorder: EventRecorder
    ) -> None:
        self._client = client
        self._claims = claims
        self._volumes = known_volumes
        self._recorder = recorder

    async def bind(self, volume: Obj, claim: Obj) -> None:
        """Make claim and volume each other's."""
        volume = await self._bind_volume(volume, claim)
        volume = await self.set_volume(volume, "Bound")
        claim = await self._bind_claim(claim, volume)
        await self.set_claim(claim, "Bound", volume)

    async def _bind_volume(self, volume: Obj, claim: Obj) -> Obj:
        wanted = volume
        if not volumes.is_bound_to(volume, claim):
            wanted = volumes.annotated(wanted, **{volumes.BOUND_BY_CONTROLLER: "yes"})
        if (volume["spec"].get("claimRef") or {}).get("uid") != objects.uid(claim):
            spec = {**volume["spec"], "claimRef": volumes.claim_reference(claim)}
            wanted = {**wanted, "spec": spec}
        return volume if wanted is volume else await self.write_volume(wanted)

    async def _bind_claim(self, claim: Obj, volume: Obj) -> Obj:
        wanted = claim
        if claim["spec"].get("volumeName") != objects.name(volume):
            spec = {**claim["spec"], "volumeName": objects.name(volume)}
            wanted = volumes.annotated(
                {**claim, "spec": spec}, **{volumes.BOUND_BY_CONTROLLER: "yes"}
            )
        if not volumes.has_annotation(claim, volumes.BIND_COMPLETED):
            wanted = volumes.annotated(wanted, **{volumes.BIND_COMPLETED: "yes"})
        return claim if wanted is claim else await self.write_claim(wanted)

    async def unbind(self, volume: Obj) -> None:
        """Take a volume back from a claim that found another one.

        A reservation that a user made stays, for the next claim of that name.
        """
        reference = volume["spec"]["claimRef"]
        spec = {key: value for key, value in volume["spec"].items() if key != "claimRef"}
        metadata = volume["metadata"]
        if volumes.has_annotation(volume, volumes.BOUND_BY_CONTROLLER):
            kept = dict(objects.annotations(volume))
            del kept[volumes.BOUND_BY_CONTROLLER]
            metadata = {**metadata, "annotations": kept}
        else:
            spec["claimRef"] = {key: reference[key] for key in reference if key != "uid"}
        volume = await self.write_volume({**volume, "metadata": metadata, "spec": spec})
        await self.set_volume(volume, "Available")

    async def write_volume(self, volume: Obj) -> Obj:
        written = await self._client.update(PERSISTENT_VOLUMES, volume)
        await self._volumes.reached(objects.resource_version(written))
        return written

    async def write_claim(self, claim: Obj) -> Obj:
        written = await self._client.update(PERSISTENT_VOLUME_CLAIMS, claim)
        await self._claims.reached(objects.resource_version(written))
        return written

    async def set_volume(self, volume: Obj, phase: str, message: str = "") -> Obj:
        """The volume in a phase."""
        held = objects.status(volume)
        if held.get("phase") == phase:
            return volume
        status = {**held, "phase": phase, "message": message}
        written = await self._client.update_status(PERSISTENT_VOLUMES, {**volume, "status": status})
        await self._volumes.reached(objects.resource_version(written))
        return written

    async def fail(self, volume: Obj, reason: str, message: str) -> None:
        """The volume cannot be reclaimed; an event says so once."""
        if objects.status(volume).get("phase") == "Failed":
            return
        written = await self.set_volume(volume, "Failed", message)
        self._recorder.event(written, "Warning", reason, message)

    async def set_claim(self, claim: Obj, phase: str, volume: Obj | None = None) -> Obj:
        """The claim in a phase, with what it got from its volume."""
        held = objects.status(claim)
        wanted = _claim_status(claim, phase, volume)
        if wanted == held:
            return claim
        written = await self._client.update_status(
            PERSISTENT_VOLUME_CLAIMS, {**claim, "status": wanted}
        )
        await self._claims.reached(objects.resource_version(written))
        return written

    async def lose(self, claim: Obj, reason: str, message: str) -> None:
        """The claim's volume is not there any more; an event says so once."""
        if objects.status(claim).get("phase") == "Lost":
            return
        written = await self.set_claim(claim, "Lost")
        self._recorder.event(written, "Warning", reason, message)


def _claim_status(claim: Obj, phase: str, volume: Obj | None) -> Obj:
    """``status`` of a claim in a phase.

    Once bound, its capacity is the expander's and the kubelet's to write: growing takes time.
    """
    held = objects.status(claim)
    wanted = {**held, "phase": phase}
    if volume is None:
        for field in ("accessModes", "capacity", "currentVolumeAttributesClassName"):
            wanted.pop(field, None)
        return wanted
    wanted["accessModes"] = volumes.access_modes(volume)
    if held.get("phase") == phase:
        return wanted
    before = objects.annotations(volume).get(PRE_RESIZE_CAPACITY)
    if before:
        wanted["capacity"] = {**(held.get("capacity") or {}), "storage": before}
    elif volumes.capacity(volume) != volumes.held_capacity(claim):
        wanted["capacity"] = volume["spec"]["capacity"]
    if attributes := volumes.attributes_class(volume):
        wanted["currentVolumeAttributesClassName"] = attributes
    return wanted
