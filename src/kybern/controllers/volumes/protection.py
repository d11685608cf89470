"""Keeps storage objects that are being deleted until nobody uses them any more.

Admission gives claims, volumes and volume attributes classes a finalizer; here it is taken away
once the last user is gone. A claim is used by the pods that mount it and are not over, a volume by
the claim it is bound to, a class by the claims and volumes that name it.
"""

from abc import abstractmethod

from kybern.api import volumes
from kybern.api.errors import Obj
from kybern.api.objects import is_pod_terminal
from kybern.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTRIBUTES_CLASSES,
    Resource,
)
from kybern.controllers.controller import Context, Controller


class StorageProtection(Controller):
    """The shape that the three share: one finalizer, and whether somebody uses the object."""

    protected: Resource
    finalizer: str

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.objects = self.watch(self.protected)

    @abstractmethod
    async def in_use(self, obj: Obj) -> bool:
        """Whether somebody still uses an object that is to go."""

    async def reconcile(self, key: str) -> None:
        obj = self.objects.get(key)
        if obj is None:
            return
        metadata = obj["metadata"]
        finalizers = metadata.get("finalizers") or []
        guarded = self.finalizer in finalizers
        if not metadata.get("deletionTimestamp"):
            if not guarded:
                await self._write(obj, [*finalizers, self.finalizer])
        elif guarded and not await self.in_use(obj):
            await self._write(obj, [name for name in finalizers if name != self.finalizer])

    async def _write(self, obj: Obj, finalizers: list[str]) -> None:
        metadata = {**obj["metadata"], "finalizers": finalizers}
        await self.client.update(self.protected, {**obj, "metadata": metadata})


class PersistentVolumeClaimProtection(StorageProtection):
    """Keyed by claim."""

    name = "persistentvolumeclaim-protection-controller"
    account = "pvc-protection-controller"
    protected = PERSISTENT_VOLUME_CLAIMS
    finalizer = "kubernetes.io/pvc-protection"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch(PODS, volumes.claim_keys)
        self.pods.add_index("claim", volumes.claim_keys)

    async def in_use(self, obj: Obj) -> bool:
        metadata = obj["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        if any(_holds(pod) for pod in self.pods.by_index("claim", key)):
            return True
        # A pod may be younger than what the informer knows, and its volume must not go.
        pods, _ = await self.client.list_all(PODS, metadata["namespace"])
        return any(_holds(pod) and key in volumes.claim_keys(pod) for pod in pods)


class PersistentVolumeProtection(StorageProtection):
    """Keyed by volume."""

    name = "persistentvolume-protection-controller"
    account = "pv-protection-controller"
    protected = PERSISTENT_VOLUMES
    finalizer = "kubernetes.io/pv-protection"

    async def in_use(self, obj: Obj) -> bool:
        return bool((obj.get("status") or {}).get("phase") == "Bound")


class VolumeAttributesClassProtection(StorageProtection):
    """Keyed by class."""

    name = "volumeattributesclass-protection-controller"
    account = "volumeattributesclass-protection-controller"
    protected = VOLUME_ATTRIBUTES_CLASSES
    finalizer = "kubernetes.io/vac-protection"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.users = [
            self.watch(PERSISTENT_VOLUMES, _classes_of),
            self.watch(PERSISTENT_VOLUME_CLAIMS, _classes_of),
        ]

    async def in_use(self, obj: Obj) -> bool:
        name = obj["metadata"]["name"]
        return any(name in _classes_of(user) for users in self.users for user in users.list())


def _holds(pod: Obj) -> bool:
    """Whether a pod keeps its claims: once it has a node, until its containers are over."""
    return bool(pod["spec"].get("nodeName")) and not is_pod_terminal(pod)


def _classes_of(user: Obj) -> list[str]:
    """The classes that a claim or volume names: the wanted, the current and the one on its way."""
    status = user.get("status") or {}
    names = (
        (user.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return [name for name in dict.fromkeys(names) if name]
