"""Claims, volumes, classes and devices as the plugins for volumes and devices see them.

Informers write; the scheduler adds what it assumes: a volume promised to a claim, a node selected
for provisioning, devices allocated to a resource claim. An assumption stands until the API server
shows the same or it is taken back. ``version`` changes with every change; pod classes with claims
are made anew then.
"""

from collections.abc import Iterable
from typing import Any

from kybern.api.resource_claims import CLASS_PREFIX
from kybern.api.volumes import SELECTED_NODE

Obj = dict[str, Any]


class StorageObjects:
    """Objects by name; those of a namespace by ``namespace/name``."""

    def __init__(self) -> None:
        self.version = 0
        self.claims: dict[str, Obj] = {}
        self.volumes: dict[str, Obj] = {}
        self.classes: dict[str, Obj] = {}
        self.csi_nodes: dict[str, Obj] = {}
        self.csi_drivers: dict[str, Obj] = {}
        self.capacities: dict[str, Obj] = {}
        self.attachments: dict[str, dict[str, Obj]] = {}
        self.resource_claims: dict[str, Obj] = {}
        self.resource_slices: dict[str, Obj] = {}
        self.slices_version = 0
        self.device_classes: dict[str, Obj] = {}
        # Extended resources that device classes stand behind, with the names of the classes.
        self.backed: dict[str, str] = {}
        self.backed_version = 0
        self._real: dict[str, Obj | None] = {}

    def claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        is_seen = new is not None and SELECTED_NODE in (new["metadata"].get("annotations") or {})
        self._changed(self.claims, old, new, is_seen)

    def volume_changed(self, old: Obj | None, new: Obj | None) -> None:
        is_seen = new is not None and "claimRef" in new["spec"]
        self._changed(self.volumes, old, new, is_seen)

    def class_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._changed(self.classes, old, new, True)

    def csi_node_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._changed(self.csi_nodes, old, new, True)

    def csi_driver_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._changed(self.csi_drivers, old, new, True)

    def capacity_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._changed(self.capacities, old, new, True)

    def attachment_changed(self, old: Obj | None, new: Obj | None) -> None:
        """VolumeAttachments are kept by node."""
        self.version += 1
        if old is not None:
            node = old["spec"].get("nodeName", "")
            self.attachments[node].pop(key_of(old), None)
            if not self.attachments[node]:
                del self.attachments[node]
        if new is not None:
            self.attachments.setdefault(new["spec"].get("nodeName", ""), {})[key_of(new)] = new

    def resource_claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        is_seen = new is not None and "allocation" in (new.get("status") or {})
        self._changed(self.resource_claims, old, new, is_seen)

    def resource_slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        self.slices_version += 1
        self._changed(self.resource_slices, old, new, True)

    def device_class_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._changed(self.device_classes, old, new, True)
        backed = _backed(self.device_classes.values())
        if backed != self.backed:
            self.backed = backed
            self.backed_version += 1

    def assume(self, obj: Obj) -> None:
        """See a claim, a volume or a resource claim like this from now on."""
        table, uid = self._table_of(obj), obj["metadata"]["uid"]
        self._real.setdefault(uid, table.get(key_of(obj)))
        table[key_of(obj)] = obj
        self.version += 1

    def forget(self, obj: Obj) -> None:
        """Take an assumption back, if it still stands."""
        uid = obj["metadata"]["uid"]
        if uid not in self._real:
            return
        real = self._real.pop(uid)
        if real is not None:
            self._table_of(obj)[key_of(obj)] = real
        else:
            self._table_of(obj).pop(key_of(obj), None)
        self.version += 1

    def is_assumed(self, obj: Obj) -> bool:
        """What is seen of the object is a promise that the API server does not show yet."""
        return obj["metadata"]["uid"] in self._real

    def claim(self, namespace: str, name: str) -> Obj | None:
        return self.claims.get(f"{namespace}/{name}")

    def is_delayed(self, class_name: str) -> bool:
        """Claims of the class wait for their first consumer."""
        found = self.classes.get(class_name)
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"

    def _table_of(self, obj: Obj) -> dict[str, Obj]:
        if "namespace" not in obj["metadata"]:
            return self.volumes
        return self.resource_claims if "devices" in obj["spec"] else self.claims

    def _changed(
        self, table: dict[str, Obj], old: Obj | None, new: Obj | None, is_seen: bool
    ) -> None:
        self.version += 1
        if new is None:
            assert old is not None
            self._real.pop(old["metadata"]["uid"], None)
            table.pop(key_of(old), None)
            return
        uid = new["metadata"]["uid"]
        if uid in self._real and not is_seen:
            self._real[uid] = new
            return
        self._real.pop(uid, None)
        table[key_of(new)] = new


def _backed(classes: Iterable[Obj]) -> dict[str, str]:
    """Of classes that stand behind one resource the newest counts, then the first by name."""
    found: dict[str, str] = {}
    names = sorted(classes, key=lambda held: str(held["metadata"]["name"]), reverse=True)
    for held in sorted(names, key=lambda held: str(held["metadata"].get("creationTimestamp"))):
        name = held["metadata"]["name"]
        found[f"{CLASS_PREFIX}{name}"] = name
        if extended := held["spec"].get("extendedResourceName"):
            found[extended] = name
    return found


def key_of(obj: Obj) -> str:
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
