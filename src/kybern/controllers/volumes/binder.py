"""The persistent volume binder: gives claims their volumes, both ways, and volumes their end.

Two kinds of keys share one queue and one worker, so that no volume is promised twice: a claim is
``namespace/name``, a volume ``name``. A claim without a volume gets the best match
(``matching.py``), or is handed to a provisioner by annotation; the four writes of a binding are
made in an order that any later look can finish (``bindings.py``). A volume whose claim is gone is
released, and ``reclaiming.py`` says what then becomes of it.
"""

from kybern.api import objects, volumes
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)
from kybern.controllers.controller import Context, Controller
from kybern.controllers.volumes.bindings import Bindings
from kybern.controllers.volumes.matching import find_volume, mismatch
from kybern.controllers.volumes.reclaiming import deleter_problem

# How often a claim that found nothing is looked at again, and told of.
RESYNC_SECONDS = 15.0


class PersistentVolumeBinder(Controller):
    """Keyed by claim and by volume."""

    name = "persistentvolume-binder-controller"
    account = "persistent-volume-binder"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.watch(PERSISTENT_VOLUME_CLAIMS, _claim_and_its_volume)
        self.volumes = self.watch(PERSISTENT_VOLUMES, _volume_and_its_claim)
        self.classes = self.read(STORAGE_CLASSES)
        self.pods = self.read(PODS)
        self.pods.add_index("claim", volumes.claim_keys)
        self.volumes.on_change(self._look_for_takers)
        self.classes.on_change(lambda old, new: self._look_at_pending())
        self.recorder = context.recorder(self.client, "persistentvolume-controller")
        self.bindings = Bindings(self.client, self.claims, self.volumes, self.recorder)

    def _look_for_takers(self, old: Obj | None, new: Obj | None) -> None:
        """A volume that became free may be what a claim waits for."""
        if new is not None and objects.status(new).get("phase") == "Available":
            self._look_at_pending()

    def _look_at_pending(self) -> None:
        for claim in self.claims.list():
            if not volumes.has_annotation(claim, volumes.BIND_COMPLETED):
                self.queue.add(objects.key(claim))

    async def reconcile(self, key: str) -> float | None:
        if "/" not in key:
            volume = self.volumes.get(key)
            return await self._sync_volume(volume) if volume is not None else None
        claim = self.claims.get(key)
        if claim is None:
            return None
        if volumes.has_annotation(claim, volumes.BIND_COMPLETED):
            await self._sync_bound(claim)
            return None
        if name := claim["spec"].get("volumeName"):
            return await self._sync_asking(claim, name)
        return await self._sync_unbound(claim)

    # Claims.

    async def _sync_unbound(self, claim: Obj) -> float | None:
        """The user does not care which volume it is."""
        delayed = self._is_delayed(claim)
        volume = find_volume(claim, self.volumes.list(), delayed)
        if volume is not None:
            await self.bindings.bind(volume, claim)
            return None
        if await self._assign_default_class(claim):
            return None
        if delayed and not volumes.has_annotation(claim, volumes.SELECTED_NODE):
            self._tell_what_is_awaited(claim)
        elif volumes.storage_class(claim):
            await self._hand_to_provisioner(claim)
            return RESYNC_SECONDS
        else:
            text = "no persistent volumes available for this claim and no storage class is set"
            self.recorder.event(claim, "Normal", "FailedBinding", text)
        await self.bindings.set_claim(claim, "Pending")
        return RESYNC_SECONDS

    def _is_delayed(self, claim: Obj) -> bool:
        found = self.classes.get(volumes.storage_class(claim))
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"

    async def _assign_default_class(self, claim: Obj) -> bool:
        """A default class that came after the claim is still its class."""
        if volumes.has_class(claim):
            return False
        defaults = [found for found in self.classes.list() if volumes.is_default_class(found)]
        if not defaults:
            return False
        defaults.sort(key=objects.name)
        newest = max(defaults, key=lambda found: found["metadata"]["creationTimestamp"])
        spec = {**claim["spec"], "storageClassName": objects.name(newest)}
        await self.bindings.write_claim({**claim, "spec": spec})
        return True

    def _tell_what_is_awaited(self, claim: Obj) -> None:
        waiting = [
            objects.name(pod)
            for pod in self.pods.by_index("claim", objects.key(claim))
            if not objects.is_pod_terminal(pod) and not pod["spec"].get("nodeName")
        ]
        reason = "WaitForPodScheduled" if waiting else "WaitForFirstConsumer"
        message = "waiting for first consumer to be created before binding"
        if waiting:
            noun = "pods" if len(waiting) > 1 else "pod"
            message = f"waiting for {noun} {','.join(waiting)} to be scheduled"
        self.recorder.event(claim, "Normal", reason, message)

    async def _hand_to_provisioner(self, claim: Obj) -> None:
        """Name the provisioner in the claim's annotations: it watches for that."""
        name = volumes.storage_class(claim)
        found = self.classes.get(name)
        if found is None:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            self.recorder.event(claim, "Warning", "ProvisioningFailed", text)
            return
        provisioner = found["provisioner"]
        if provisioner.startswith("kubernetes.io/"):
            text = f"no volume plugin matched name: {provisioner}"
            self.recorder.event(claim, "Warning", "ProvisioningFailed", text)
            return
        if objects.annotations(claim).get(volumes.PROVISIONER) != provisioner:
            marks = {volumes.PROVISIONER: provisioner, volumes.BETA_PROVISIONER: provisioner}
            claim = await self.bindings.write_claim(volumes.annotated(claim, **marks))
        text = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator. If volume creation is "
            "delayed, please verify that the provisioner is running and correctly registered."
        )
        self.recorder.event(claim, "Normal", "ExternalProvisioning", text)

    async def _sync_asking(self, claim: Obj, name: str) -> float | None:
        """The user asked for one volume by name."""
        volume = self.volumes.get(name)
        if volume is None:
            await self.bindings.set_claim(claim, "Pending")
            return RESYNC_SECONDS
        if "claimRef" not in volume["spec"]:
            if problem := mismatch(volume, claim):
                text = f'Cannot bind to requested volume "{name}": {problem}'
                self.recorder.event(claim, "Warning", "VolumeMismatch", text)
                await self.bindings.set_claim(claim, "Pending")
                return RESYNC_SECONDS
            await self.bindings.bind(volume, claim)
        elif volumes.is_bound_to(volume, claim):
            await self.bindings.bind(volume, claim)
        else:
            text = f'volume "{name}" already bound to a different claim.'
            self.recorder.event(claim, "Warning", "FailedBinding", text)
            await self.bindings.set_claim(claim, "Pending")
            return RESYNC_SECONDS
        return None

    async def _sync_bound(self, claim: Obj) -> None:
        """A claim that was bound once stays with its volume, or is lost."""
        name = claim["spec"].get("volumeName")
        if not name:
            text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
            await self.bindings.lose(claim, "ClaimLost", text)
            return
        volume = self.volumes.get(name)
        if volume is None:
            text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            await self.bindings.lose(claim, "ClaimLost", text)
        elif (volume["spec"].get("claimRef") or _own(claim)).get("uid") == objects.uid(claim):
            await self.bindings.bind(volume, claim)
        else:
            text = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self.bindings.lose(claim, "ClaimMisbound", text)

    # Volumes.

    async def _sync_volume(self, volume: Obj) -> float | None:
        reference = volume["spec"].get("claimRef")
        if not reference or not reference.get("uid"):
            # Free, or reserved for a claim that will come and bind it.
            await self.bindings.set_volume(volume, "Available")
            return None
        claim = await self._claim_of(volume, reference)
        if claim is None:
            await self._release(volume)
            return None
        name = claim["spec"].get("volumeName")
        if name == objects.name(volume):
            await self.bindings.set_volume(volume, "Bound")
        elif name:
            await self._give_up(volume)
        elif volumes.volume_mode(claim) != volumes.volume_mode(volume):
            self._tell_of_modes(volume, claim)
        else:
            self.queue.add(objects.key(claim))
        return None

    async def _claim_of(self, volume: Obj, reference: Obj) -> Obj | None:
        """The claim that the volume refers to; asked of the server before it counts as gone."""
        claim = self.claims.get(volumes.claim_key(volume))
        if claim is not None and objects.uid(claim) == reference["uid"]:
            return claim
        if claim is None and objects.status(volume).get("phase") in ("Released", "Failed"):
            return None
        try:
            claim = await self.client.get(
                PERSISTENT_VOLUME_CLAIMS, reference["name"], reference["namespace"]
            )
        except StatusError as error:
            if error.code == 404:
                return None
            raise
        return claim if objects.uid(claim) == reference["uid"] else None

    async def _give_up(self, volume: Obj) -> None:
        """The claim found another volume."""
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        if volumes.has_annotation(volume, volumes.PROVISIONED_BY) and policy == "Delete":
            await self._release(volume)
        else:
            await self.bindings.unbind(volume)

    def _tell_of_modes(self, volume: Obj, claim: Obj) -> None:
        why = "due to incompatible volumeMode."
        text = f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{{}}" {why}'
        self.recorder.event(volume, "Warning", "VolumeMismatch", text.format(objects.name(claim)))
        text = f'Cannot bind PersistentVolume "{{}}" to requested PersistentVolumeClaim {why}'
        self.recorder.event(claim, "Warning", "VolumeMismatch", text.format(objects.name(volume)))

    async def _release(self, volume: Obj) -> None:
        """The claim is gone; what happens to the data is the reclaim policy's word."""
        if objects.status(volume).get("phase") not in ("Released", "Failed"):
            volume = await self.bindings.set_volume(volume, "Released")
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        if policy == "Delete" and (problem := deleter_problem(volume)):
            await self.bindings.fail(volume, "VolumeFailedDelete", problem)
        elif policy == "Recycle":
            text = "No recycler plugin found for the volume!"
            await self.bindings.fail(volume, "VolumeFailedRecycle", text)


def _own(claim: Obj) -> Obj:
    """A volume that refers to nobody counts as the claim's own: it is bound again."""
    return volumes.claim_reference(claim)


def _claim_and_its_volume(claim: Obj) -> list[str]:
    name = claim["spec"].get("volumeName")
    return [objects.key(claim), *([name] if name else [])]


def _volume_and_its_claim(volume: Obj) -> list[str]:
    key = volumes.claim_key(volume)
    return [objects.name(volume), *([key] if key else [])]
