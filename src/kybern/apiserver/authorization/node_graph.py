"""Which objects a node may read, because a pod on it, a volume or an attachment leads there.

Fed by the caches: pods (their secrets, config maps, claims, service account), persistent volumes
(claim and secrets), volume attachments, resource slices and requests for pods' certificates. Edges
count their reasons, so that a secret used by two pods of a node stays reachable until both are
gone.
"""

from collections.abc import Iterator

from kybern.api.errors import Obj
from kybern.api.pod_references import SECRET_REF_FIELDS, pod_config_maps, pod_secrets
from kybern.api.resource_claims import extended_claim_name
from kybern.api.resources import (
    PERSISTENT_VOLUMES,
    POD_CERTIFICATE_REQUESTS,
    PODS,
    VOLUME_ATTACHMENTS,
    Resource,
)
from kybern.apiserver.lookup import Lookup

RESOURCE_SLICES = Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", False)
_MIRROR_POD = "kubernetes.io/config.mirror"
_CSI_SECRET_REFS = (
    "controllerPublishSecretRef",
    "nodePublishSecretRef",
    "nodeStageSecretRef",
    "controllerExpandSecretRef",
    "nodeExpandSecretRef",
)

# An object of the graph: the plural, the namespace and the name.
Vertex = tuple[str, str, str]


class NodeGraph:
    """Paths from objects to nodes."""

    def __init__(self, lookup: Lookup) -> None:
        self._nodes: dict[Vertex, dict[str, int]] = {}
        self._links: dict[Vertex, dict[Vertex, int]] = {}
        lookup.on_change(PODS, self._pod_changed)
        lookup.on_change(PERSISTENT_VOLUMES, self._volume_changed)
        lookup.on_change(VOLUME_ATTACHMENTS, self._attachment_changed)
        lookup.on_change(RESOURCE_SLICES, self._slice_changed)
        lookup.on_change(POD_CERTIFICATE_REQUESTS, self._request_changed)

    def leads_to(self, vertex: Vertex, node: str) -> bool:
        """Whether the object belongs to the node, directly or over a volume."""
        if node in self._nodes.get(vertex, ()):
            return True
        return any(self.leads_to(target, node) for target in self._links.get(vertex, ()))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is not None and _same_edges(old, new):
            return
        for pod, step in ((old, -1), (new, 1)):
            node = (pod.get("spec") or {}).get("nodeName") if pod is not None else None
            if pod is None or not node:
                continue
            for vertex in dict.fromkeys(_pod_vertices(pod)):
                _count(self._nodes, vertex, node, step)

    def _volume_changed(self, old: Obj | None, new: Obj | None) -> None:
        for volume, step in ((old, -1), (new, 1)):
            if volume is None:
                continue
            claim = volume["spec"].get("claimRef")
            if not claim:
                continue
            own: Vertex = ("persistentvolumes", "", volume["metadata"]["name"])
            namespace = claim.get("namespace", "")
            target = ("persistentvolumeclaims", namespace, claim.get("name", ""))
            _count(self._links, own, target, step)
            for secret in dict.fromkeys(_volume_secrets(volume["spec"], namespace)):
                _count(self._links, secret, own, step)

    def _attachment_changed(self, old: Obj | None, new: Obj | None) -> None:
        for attachment, step in ((old, -1), (new, 1)):
            if attachment is not None and attachment["spec"].get("nodeName"):
                vertex = ("volumeattachments", "", attachment["metadata"]["name"])
                _count(self._nodes, vertex, attachment["spec"]["nodeName"], step)

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        for piece, step in ((old, -1), (new, 1)):
            if piece is not None and piece["spec"].get("nodeName"):
                vertex = ("resourceslices", "", piece["metadata"]["name"])
                _count(self._nodes, vertex, piece["spec"]["nodeName"], step)

    def _request_changed(self, old: Obj | None, new: Obj | None) -> None:
        for request, step in ((old, -1), (new, 1)):
            if request is not None:
                meta = request["metadata"]
                vertex = ("podcertificaterequests", meta["namespace"], meta["name"])
                _count(self._nodes, vertex, request["spec"]["nodeName"], step)


def _count(index: dict, source: Vertex, target: object, step: int) -> None:
    targets = index.setdefault(source, {})
    targets[target] = targets.get(target, 0) + step
    if targets[target] <= 0:
        del targets[target]
        if not targets:
            del index[source]


def _same_edges(old: Obj, new: Obj) -> bool:
    """Most pod changes are of the status and leave every edge as it is."""
    return bool(
        old["metadata"].get("uid") == new["metadata"].get("uid")
        and old.get("spec") == new.get("spec")
        and _claim_statuses(old) == _claim_statuses(new)
        and extended_claim_name(old) == extended_claim_name(new)
    )


def _claim_statuses(pod: Obj) -> list[Obj]:
    return (pod.get("status") or {}).get("resourceClaimStatuses") or []


def _pod_vertices(pod: Obj) -> Iterator[Vertex]:
    metadata, spec = pod["metadata"], pod["spec"]
    namespace = metadata.get("namespace", "")
    yield ("pods", namespace, metadata["name"])
    if _MIRROR_POD in (metadata.get("annotations") or {}):
        # A node writes its mirror pods itself, so they must not open the way to anything.
        return
    if spec.get("serviceAccountName"):
        yield ("serviceaccounts", namespace, spec["serviceAccountName"])
    for name in pod_secrets(pod):
        yield ("secrets", namespace, name)
    for name in pod_config_maps(pod):
        yield ("configmaps", namespace, name)
    for volume in spec.get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            name = volume["persistentVolumeClaim"].get("claimName", "")
            yield ("persistentvolumeclaims", namespace, name)
        elif "ephemeral" in volume:
            name = f"{metadata['name']}-{volume['name']}"
            yield ("persistentvolumeclaims", namespace, name)
    for claim in _resource_claims(pod):
        yield ("resourceclaims", namespace, claim)


def _resource_claims(pod: Obj) -> Iterator[str]:
    generated = {status["name"]: status.get("resourceClaimName") for status in _claim_statuses(pod)}
    for claim in pod["spec"].get("resourceClaims") or []:
        name = claim.get("resourceClaimName") or generated.get(claim["name"])
        if name:
            yield name
    if extended := extended_claim_name(pod):
        yield extended


def _volume_secrets(spec: Obj, claim_namespace: str) -> Iterator[Vertex]:
    azure = spec.get("azureFile")
    if azure and azure.get("secretName"):
        yield ("secrets", azure.get("secretNamespace") or claim_namespace, azure["secretName"])
    references = [
        (spec.get(kind) or {}).get(field)
        for kind, field in SECRET_REF_FIELDS.items()
        if kind != "csi"
    ]
    references += [(spec.get("csi") or {}).get(field) for field in _CSI_SECRET_REFS]
    for reference in references:
        if reference and reference.get("name"):
            yield ("secrets", reference.get("namespace") or claim_namespace, reference["name"])
