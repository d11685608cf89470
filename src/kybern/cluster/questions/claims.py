"""The claims that manifests bring, as they would be once a provisioner had seen them."""

from typing import Any

from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES
from kybern.cluster.questions.cluster_snapshot import ClusterObjects

Obj = dict[str, Any]

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
SUFFIX = "-whatif"


def make_claim(
    cluster: ClusterObjects, name: str, namespace: str, spec: Obj, uid: str, owners: list[Obj]
) -> None:
    """A claim for a pod to come, unless there is one of the name."""
    if cluster.find("PersistentVolumeClaim", namespace, name) is not None:
        return
    meta = {"name": name, "namespace": namespace, "uid": uid, "ownerReferences": owners}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
    cluster.of(PERSISTENT_VOLUME_CLAIMS).append(provisioned_anywhere(cluster, claim))


def provisioned_anywhere(cluster: ClusterObjects, claim: Obj) -> Obj:
    """The claim with its class resolved. Where the class has a provisioner that would act at once,
    the claim gets a class that waits for the pod, for nobody knows where the volume would be."""
    found = _class_of(cluster, claim)
    if found is None:
        return claim
    name = found["metadata"]["name"]
    acts_at_once = found.get("volumeBindingMode", "Immediate") == "Immediate"
    if acts_at_once and found.get("provisioner") not in (None, "", NO_PROVISIONER):
        name += SUFFIX
        meta = {**found["metadata"], "name": name, "uid": f"{found['metadata']['uid']}{SUFFIX}"}
        waiting = {**found, "metadata": meta, "volumeBindingMode": "WaitForFirstConsumer"}
        cluster.put({**waiting, "kind": STORAGE_CLASSES.kind})
    return {**claim, "spec": {**claim["spec"], "storageClassName": name}}


def _class_of(cluster: ClusterObjects, claim: Obj) -> Obj | None:
    wanted = claim["spec"].get("storageClassName")
    for one in cluster.of(STORAGE_CLASSES):
        meta = one["metadata"]
        is_default = (meta.get("annotations") or {}).get(DEFAULT_CLASS) == "true"
        if meta["name"] == wanted or (wanted is None and is_default):
            return one
    return None
