"""Attaches CSI volumes to the nodes whose pods want them, and detaches those that none wants.

Attaching is asked for by a VolumeAttachment object, which the driver's attacher carries out. What
is attached is published in the Node's ``volumesAttached``; the kubelet answers in ``volumesInUse``
with what it has mounted, and while a volume stands there it is detached only by force: after six
minutes on a node that is not healthy, or at once on one that is declared out of service.

One worker, which waits for its own writes to come back, decides for all nodes: that is what keeps a
volume of one writer from being attached twice.
"""

import re
from collections.abc import Iterable

from kybern.api import objects, volumes
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    CSI_DRIVERS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
)
from kybern.controllers.controller import Context, Controller

FORCE_DETACH_SECONDS = 360.0
LOOK_AGAIN_SECONDS = 5.0
MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"
# As the controller names its attachments; others belong to whoever made them.
_OUR_NAME = re.compile("csi-[0-9a-f]{64}")
_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class AttachDetachController(Controller):
    """Keyed by node."""

    name = "persistentvolume-attach-detach-controller"
    account = "attachdetach-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.watch(NODES)
        self.pods = self.watch(PODS, _node_of)
        self.pods.add_index("node", _node_of)
        self.pods.add_index("claim", volumes.claim_keys)
        self.claims = self.watch(
            PERSISTENT_VOLUME_CLAIMS, lambda claim: self._nodes_of(objects.key(claim))
        )
        self.volumes = self.watch(
            PERSISTENT_VOLUMES, lambda volume: self._nodes_of(volumes.claim_key(volume))
        )
        self.drivers = self.watch(CSI_DRIVERS, lambda _: map(objects.name, self.nodes.list()))
        self.attachments = self.watch(VOLUME_ATTACHMENTS, self._concerned)
        self.attachments.add_index("node", lambda one: [one["spec"]["nodeName"]])
        self.attachments.add_index("volume", lambda one: [_volume_of(one)])
        self.recorder = context.recorder(self.client, "attachdetach-controller")
        self.unwanted_since: dict[str, float] = {}
        self.told: dict[str, str] = {}
        self.blocked: dict[tuple[str, str], str] = {}

    def _nodes_of(self, claim_key: str) -> list[str]:
        """The nodes whose pods mount a claim."""
        return [node for pod in self.pods.by_index("claim", claim_key) for node in _node_of(pod)]

    def _concerned(self, attachment: Obj) -> list[str]:
        """The attachment's own node, and those that wait for its volume."""
        volume = self.volumes.get(_volume_of(attachment))
        others = self._nodes_of(volumes.claim_key(volume)) if volume is not None else []
        return [attachment["spec"]["nodeName"], *others]

    async def reconcile(self, key: str) -> float | None:
        node = self.nodes.get(key)
        if node is not None and objects.annotations(node).get(MANAGED) != "true":
            return None
        wanted = self._wanted(key) if node is not None else {}
        for told in [one for one in self.blocked if one[0] == key and one[1] not in wanted]:
            del self.blocked[told]
        here = filter(_is_ours, self.attachments.by_index("node", key))
        held = {_volume_of(one): one for one in here}
        for name, attachment in held.items():
            if name in wanted:
                self.unwanted_since.pop(objects.name(attachment), None)
        leaving = [one for name, one in held.items() if name not in wanted]
        going = [one for one in leaving if self._may_detach(one, node)]
        staying = [one for one in held.values() if one not in going]
        if node is not None:
            await self._publish(node, staying)
        for attachment in going:
            await self._detach(attachment)
        blocked = False
        for name, pods in wanted.items():
            if name in held:
                self._tell_outcome(held[name], pods)
            else:
                blocked |= not await self._attach(self.volumes.get(name) or {}, key, pods)
        return LOOK_AGAIN_SECONDS if blocked or len(going) < len(leaving) else None

    def _wanted(self, node: str) -> dict[str, list[Obj]]:
        """The volumes to be attached to a node by name, each with the pods that want it."""
        found: dict[str, list[Obj]] = {}
        for pod in self.pods.by_index("node", node):
            if _has_ended(pod):
                continue
            for key in volumes.claim_keys(pod):
                volume = self._bound_volume(key)
                if volume is not None and self._needs_attaching(volume):
                    found.setdefault(objects.name(volume), []).append(pod)
        return found

    def _bound_volume(self, claim_key: str) -> Obj | None:
        claim = self.claims.get(claim_key)
        if claim is None or not volumes.has_annotation(claim, volumes.BIND_COMPLETED):
            return None
        volume = self.volumes.get(claim["spec"].get("volumeName", ""))
        reference = (volume or {"spec": {}})["spec"].get("claimRef") or {}
        return volume if reference.get("uid") == objects.uid(claim) else None

    def _needs_attaching(self, volume: Obj) -> bool:
        """A driver that has not said otherwise wants its volumes attached."""
        source = volume["spec"].get("csi")
        if source is None:
            return False
        driver = self.drivers.get(source["driver"]) or {}
        return (driver.get("spec") or {}).get("attachRequired") is not False

    # Detaching.

    def _may_detach(self, attachment: Obj, node: Obj | None) -> bool:
        """No pod wants it; whether the node has let go of it, or is not asked any more."""
        name = objects.name(attachment)
        if objects.is_deleting(attachment):
            return True
        since = self.unwanted_since.setdefault(name, self.clock.time())
        taints = () if node is None else node["spec"].get("taints") or ()
        if any(taint["key"] == _OUT_OF_SERVICE for taint in taints):
            return True
        healthy = node is not None and objects.condition_is(node, "Ready")
        if not healthy and self.clock.time() - since > FORCE_DETACH_SECONDS:
            return True
        return node is not None and not self._is_in_use(attachment, node)

    def _is_in_use(self, attachment: Obj, node: Obj) -> bool:
        volume = self.volumes.get(_volume_of(attachment))
        source = (volume or {"spec": {}})["spec"].get("csi")
        in_use = objects.status(node).get("volumesInUse") or ()
        return source is not None and volumes.csi_volume_name(source) in in_use

    async def _detach(self, attachment: Obj) -> None:
        name = objects.name(attachment)
        self.unwanted_since.pop(name, None)
        self.told.pop(name, None)
        if objects.is_deleting(attachment):
            return
        try:
            await self.client.delete(VOLUME_ATTACHMENTS, name, uid=objects.uid(attachment))
        except StatusError as error:
            if error.code != 404:
                raise

    # Attaching.

    async def _attach(self, volume: Obj, node: str, pods: list[Obj]) -> bool:
        """Ask for the attachment; False if another node has the volume for itself."""
        name = objects.name(volume)
        elsewhere = self.attachments.by_index("volume", name)
        if elsewhere and not volumes.is_shared(volume):
            self._tell_multi_attach(volume, node, pods, elsewhere)
            return False
        source = volume["spec"]["csi"]
        attachment = {
            "metadata": {"name": volumes.attachment_name(source, node)},
            "spec": {
                "attacher": source["driver"],
                "nodeName": node,
                "source": {"persistentVolumeName": name},
            },
        }
        made = await self.client.create(VOLUME_ATTACHMENTS, attachment)
        await self.attachments.reached(objects.resource_version(made))
        return True

    def _tell_multi_attach(
        self, volume: Obj, node: str, pods: list[Obj], elsewhere: Iterable[Obj]
    ) -> None:
        others = {one["spec"]["nodeName"] for one in elsewhere}
        users = [
            pod
            for pod in self.pods.by_index("claim", volumes.claim_key(volume))
            if pod["spec"].get("nodeName") in others and not _has_ended(pod)
        ]
        text = "Volume is already exclusively attached to one node and can't be attached to another"
        if users:
            text = f"Volume is already used by pod(s) {', '.join(map(objects.name, users))}"
        name = objects.name(volume)
        if self.blocked.get((node, name)) == text:
            return
        self.blocked[node, name] = text
        message = f'Multi-Attach error for volume "{name}" {text}'
        for pod in pods:
            self.recorder.event(pod, "Warning", "FailedAttachVolume", message)

    def _tell_outcome(self, attachment: Obj, pods: list[Obj]) -> None:
        """Say once to the pods how it went."""
        status, volume = objects.status(attachment), _volume_of(attachment)
        failure = (status.get("attachError") or {}).get("message", "")
        outcome = "attached" if status.get("attached") else failure
        if not outcome or self.told.get(objects.name(attachment)) == outcome:
            return
        self.told[objects.name(attachment)] = outcome
        type, reason = "Normal", "SuccessfulAttachVolume"
        message = f'AttachVolume.Attach succeeded for volume "{volume}" '
        if not status.get("attached"):
            type, reason = "Warning", "FailedAttachVolume"
            message = f'AttachVolume.Attach failed for volume "{volume}" : {failure}'
        for pod in pods:
            self.recorder.event(pod, type, reason, message)

    async def _publish(self, node: Obj, staying: list[Obj]) -> None:
        """The Node shows what is attached; a volume that is to go leaves here first."""
        attached = [
            {"name": volumes.csi_volume_name(volume["spec"]["csi"]), "devicePath": ""}
            for one in staying
            if objects.status(one).get("attached") and not objects.is_deleting(one)
            if (volume := self.volumes.get(_volume_of(one))) is not None and "csi" in volume["spec"]
        ]
        attached.sort(key=lambda entry: entry["name"])
        if attached == (objects.status(node).get("volumesAttached") or []):
            return
        # Refused if the kubelet has written meanwhile: it may just have said that it uses one.
        seen = {"resourceVersion": objects.resource_version(node)}
        patch = {"metadata": seen, "status": {"volumesAttached": attached}}
        await self.client.patch(NODES, objects.name(node), patch, subresource="status")


def _volume_of(attachment: Obj) -> str:
    return attachment["spec"]["source"].get("persistentVolumeName") or ""


def _node_of(pod: Obj) -> list[str]:
    name = pod["spec"].get("nodeName")
    return [name] if name else []


def _is_ours(attachment: Obj) -> bool:
    return _OUR_NAME.fullmatch(objects.name(attachment)) is not None


def _has_ended(pod: Obj) -> bool:
    """Its containers do not run any more, and never will."""
    if objects.is_pod_terminal(pod):
        return True
    statuses = objects.status(pod).get("containerStatuses") or ()
    stopped = all("running" not in (one.get("state") or {}) for one in statuses)
    return objects.is_deleting(pod) and stopped
