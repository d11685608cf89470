"""NodeRestriction: what a kubelet writes concerns itself and its own pods.

The Node authorizer decides by path; this plugin decides by contents.
"""

from collections.abc import Callable, Mapping

from cryptography.x509.oid import NameOID

from kybern.api.errors import Obj, StatusError, not_found
from kybern.api.pod_references import pod_config_maps, pod_secrets
from kybern.api.resources import (
    CSI_DRIVERS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
)
from kybern.apiserver.admission.attributes import CREATE, DELETE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.certificates import parse_request
from kybern.apiserver.admission.node_pod_certificates import check_pod_certificate
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.authorization.node import node_name
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.request_info import Attributes

_MIRROR_POD = "kubernetes.io/config.mirror"
_RESTRICTED_DOMAIN = "node-restriction.kubernetes.io"
# Labels under Kubernetes' own domains that a kubelet may set on its node.
_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
    }
)
_KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction(Plugin):
    name = "NodeRestriction"
    operations = (CREATE, UPDATE, DELETE)
    subresources = None
    resources = (
        ("", "pods"),
        ("", "nodes"),
        ("", "persistentvolumeclaims"),
        ("", "serviceaccounts"),
        ("coordination.k8s.io", "leases"),
        ("storage.k8s.io", "csinodes"),
        ("resource.k8s.io", "resourceslices"),
        ("certificates.k8s.io", "certificatesigningrequests"),
        ("certificates.k8s.io", "podcertificaterequests"),
    )

    def __init__(self, lookup: Lookup, authorizers: Authorizers) -> None:
        self._lookup = lookup
        self._authorizers = authorizers
        self._rules: dict[str, Callable[[str, AdmissionAttributes], None]] = {
            "pods": self._pod,
            "nodes": _node,
            "persistentvolumeclaims": _claim,
            "serviceaccounts": self._token,
            "leases": _lease,
            "csinodes": _csi_node,
            "resourceslices": _resource_slice,
            "certificatesigningrequests": _signing_request,
            "podcertificaterequests": lambda node, attributes: check_pod_certificate(
                node, attributes, lookup
            ),
        }

    async def admit(self, attributes: AdmissionAttributes) -> None:
        node = node_name(attributes.user)
        if node is None:
            return
        if not node:
            raise attributes.forbid(f'could not determine node from user "{attributes.user.name}"')
        self._rules[attributes.resource](node, attributes)

    def _pod(self, node: str, attributes: AdmissionAttributes) -> None:
        subresource, operation = attributes.subresource, attributes.operation
        if subresource == "status":
            _pod_status(node, attributes)
        elif subresource == "eviction":
            if operation != CREATE:
                raise attributes.forbid(f"unexpected operation {operation}")
            if self._existing(attributes)["spec"].get("nodeName") != node:
                raise attributes.forbid(
                    f"node {node} can only evict pods with spec.nodeName set to itself"
                )
        elif subresource:
            raise attributes.forbid(
                f'unexpected pod subresource "{subresource}", '
                "only 'status' and 'eviction' are allowed"
            )
        elif operation == CREATE:
            self._mirror_pod(node, attributes)
        elif operation == DELETE:
            if self._existing(attributes)["spec"].get("nodeName") != node:
                raise attributes.forbid(
                    f'node "{node}" can only delete pods with spec.nodeName set to itself'
                )
        else:
            raise attributes.forbid(
                f'unexpected operation "{operation}", node "{node}" can only create and delete '
                "mirror pods"
            )

    def _existing(self, attributes: AdmissionAttributes) -> Obj:
        pod = self._lookup.get(PODS, attributes.name, attributes.namespace)
        if pod is None:
            raise not_found("pod", attributes.name)
        return pod

    def _mirror_pod(self, node: str, attributes: AdmissionAttributes) -> None:
        pod = attributes.object or {}
        metadata = pod["metadata"]
        can = f'node "{node}" can only create'
        if _MIRROR_POD not in (metadata.get("annotations") or {}):
            raise attributes.forbid(
                f'pod does not have "{_MIRROR_POD}" annotation, {can} mirror pods'
            )
        if pod["spec"].get("nodeName") != node:
            raise attributes.forbid(f"{can} pods with spec.nodeName set to itself")
        owners = metadata.get("ownerReferences") or []
        if len(owners) > 1:
            raise attributes.forbid(f"{can} pods with a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise attributes.forbid(f"{can} pods with an owner reference set to itself")
        if not owner.get("controller"):
            raise attributes.forbid(f"{can} pods with a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise attributes.forbid(
                f'node "{node}" must not set blockOwnerDeletion on an owner reference'
            )
        found = self._lookup.get(NODES, node)
        if found is None:
            raise not_found("node", node)
        uid = found["metadata"]["uid"]
        if owner.get("uid") != uid:
            raise attributes.forbid(
                f"node {node} UID mismatch: expected {owner.get('uid', '')} got {uid}"
            )
        referenced = _referenced(pod)
        if referenced:
            raise attributes.forbid(
                f'node "{node}" can not create pods that reference {referenced}'
            )

    def _token(self, node: str, attributes: AdmissionAttributes) -> None:
        if attributes.operation != CREATE or attributes.subresource != "token":
            return
        spec = (attributes.object or {}).get("spec") or {}
        reference = spec.get("boundObjectRef") or {}
        bound = reference.get("apiVersion") == "v1" and reference.get("kind") == "Pod"
        if not bound or not reference.get("name"):
            raise attributes.forbid("node requested token not bound to a pod")
        if not reference.get("uid"):
            raise attributes.forbid("node requested token with a pod binding without a uid")
        pod = self._lookup.get(PODS, reference["name"], attributes.namespace)
        if pod is None:
            raise not_found("pod", reference["name"])
        if reference["uid"] != pod["metadata"]["uid"]:
            raise attributes.forbid(
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                "UID in record. The object might have been deleted and then recreated"
            )
        if pod["spec"].get("nodeName") != node:
            raise attributes.forbid(
                "node requested token bound to a pod scheduled on a different node"
            )
        self._check_audience(attributes, pod, spec.get("audiences") or [""])

    def _check_audience(
        self, attributes: AdmissionAttributes, pod: Obj, audiences: list[str]
    ) -> None:
        if len(audiences) > 1:
            raise attributes.forbid("node may only request 0 or 1 audiences")
        audience = audiences[0]
        problems = []
        for volume in pod["spec"].get("volumes") or []:
            try:
                if self._asks_for(pod, volume, audience):
                    return
            except StatusError as missing:
                problems.append(missing.message)
        if problems:
            listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            raise attributes.forbid(f'error validating audience "{audience}": {listed}')
        user = attributes.user
        request = Attributes(
            user,
            "request-serviceaccounts-token-audience",
            version="v1",
            resource=audience,
            namespace=attributes.namespace,
            name=attributes.name,
        )
        if not self._authorizers.decide(request).allowed:
            raise attributes.forbid(
                f'audience "{audience}" not found in pod spec volume, {user.name} is not '
                "authorized to request tokens for this audience"
            )

    def _asks_for(self, pod: Obj, volume: Obj, audience: str) -> bool:
        """Whether a volume of the pod needs a token for the audience; raises StatusError 404."""
        for source in (volume.get("projected") or {}).get("sources") or []:
            token = source.get("serviceAccountToken")
            if token is not None and token.get("audience", "") == audience:
                return True
        name = self._driver(pod, volume)
        if not name:
            return False
        driver = self._lookup.get(CSI_DRIVERS, name)
        if driver is None:
            raise not_found("csidriver", name, "storage.k8s.io")
        requests = (driver.get("spec") or {}).get("tokenRequests") or []
        return any(request.get("audience", "") == audience for request in requests)

    def _driver(self, pod: Obj, volume: Obj) -> str:
        """The CSI driver behind a volume; empty where none is."""
        if "csi" in volume:
            return str(volume["csi"].get("driver", ""))
        if "ephemeral" in volume:
            claim_name = f"{pod['metadata']['name']}-{volume['name']}"
        elif "persistentVolumeClaim" in volume:
            claim_name = volume["persistentVolumeClaim"].get("claimName", "")
        else:
            return ""
        claim = self._lookup.get(PERSISTENT_VOLUME_CLAIMS, claim_name, pod["metadata"]["namespace"])
        if claim is None:
            raise not_found("persistentvolumeclaim", claim_name)
        volume_name = claim["spec"].get("volumeName", "")
        found = self._lookup.get(PERSISTENT_VOLUMES, volume_name)
        if found is None:
            raise not_found("persistentvolume", volume_name)
        return str((found["spec"].get("csi") or {}).get("driver", ""))


def _referenced(pod: Obj) -> str:
    """Which kind of API object a pod refers to; a mirror pod may refer to none."""
    spec = pod["spec"]
    if spec.get("serviceAccountName"):
        return "serviceaccounts"
    if next(pod_secrets(pod), None) is not None:
        return "secrets"
    if next(pod_config_maps(pod), None) is not None:
        return "configmaps"
    for volume in spec.get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            if "clusterTrustBundle" in source:
                return "clustertrustbundles"
            if "podCertificate" in source:
                return "podcertificates"
        if "persistentVolumeClaim" in volume or "ephemeral" in volume:
            return "persistentvolumeclaims"
    return "resourceclaims" if spec.get("resourceClaims") else ""


def _pod_status(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.operation != UPDATE:
        raise attributes.forbid(f'unexpected operation "{attributes.operation}"')
    old, new = attributes.old_object or {}, attributes.object or {}
    if old["spec"].get("nodeName") != node:
        raise attributes.forbid(
            f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
        )
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        raise attributes.forbid(f'node "{node}" cannot update labels through pod status')
    statuses = [pod.get("status") or {} for pod in (old, new)]
    if len({str(status.get("resourceClaimStatuses") or []) for status in statuses}) > 1:
        raise attributes.forbid(f'node "{node}" cannot update resource claim statues')
    if len({str(status.get("extendedResourceClaimStatus")) for status in statuses}) > 1:
        raise attributes.forbid(f'node "{node}" cannot update extended resource claim status')


def _node(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.name != node:
        raise attributes.forbid(f'node "{node}" is not allowed to modify node "{attributes.name}"')
    new, old = attributes.object, attributes.old_object
    if attributes.operation == CREATE and new is not None:
        labels = _forbidden_labels(_labels(new), {})
        if (new.get("spec") or {}).get("configSource"):
            raise attributes.forbid(
                f'node "{node}" is not allowed to create pods with a non-nil configSource'
            )
        if labels:
            raise attributes.forbid(
                f'node "{node}" is not allowed to set the following labels: {", ".join(labels)}'
            )
    if attributes.operation == UPDATE and new is not None and old is not None:
        _node_update(node, attributes, new, old)


def _node_update(node: str, attributes: AdmissionAttributes, new: Obj, old: Obj) -> None:
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if spec.get("configSource") not in (None, old_spec.get("configSource")):
        raise attributes.forbid(
            f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
        )
    if (spec.get("taints") or []) != (old_spec.get("taints") or []):
        raise attributes.forbid(f'node "{node}" is not allowed to modify taints')
    owners = [obj["metadata"].get("ownerReferences") or [] for obj in (new, old)]
    if owners[0] != owners[1]:
        raise attributes.forbid(f'node "{node}" is not allowed to modify ownerReferences')
    labels = _forbidden_labels(_labels(new), _labels(old))
    if labels:
        raise attributes.forbid(f"is not allowed to modify labels: {', '.join(labels)}")


def _labels(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _forbidden_labels(new: Mapping[str, str], old: Mapping[str, str]) -> list[str]:
    """Changed labels that are not a kubelet's to change."""
    changed = [key for key in {**new, **old} if new.get(key) != old.get(key)]
    return sorted(key for key in changed if _forbidden_label(key))


def _forbidden_label(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    if _under(domain, _RESTRICTED_DOMAIN):
        return True
    if not (_under(domain, "kubernetes.io") or _under(domain, "k8s.io")):
        return False
    return key not in _KUBELET_LABELS and not any(_under(domain, d) for d in _KUBELET_DOMAINS)


def _under(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith("." + parent)


def _claim(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.subresource != "status":
        raise attributes.forbid("may only update PVC status")
    if attributes.operation != UPDATE:
        raise attributes.forbid(f'unexpected operation "{attributes.operation}"')
    old, new = attributes.old_object or {}, attributes.object or {}
    if _fixed_part(old) != _fixed_part(new):
        raise attributes.forbid(
            f'node "{node}" is not allowed to update fields other than status.quantity and '
            "status.conditions"
        )


def _fixed_part(claim: Obj) -> Obj:
    changing = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")
    hidden = ("resourceVersion", "managedFields")
    status = {k: v for k, v in (claim.get("status") or {}).items() if k not in changing}
    metadata = {k: v for k, v in claim["metadata"].items() if k not in hidden}
    return {**claim, "metadata": metadata, "status": status}


def _lease(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.namespace != "kube-node-lease":
        raise attributes.forbid('can only access leases in the "kube-node-lease" system namespace')
    if attributes.name != node:
        raise attributes.forbid(
            "can only access node lease with the same name as the requesting node"
        )


def _csi_node(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.name != node:
        raise attributes.forbid("can only access CSINode with the same name as the requesting node")


def _resource_slice(node: str, attributes: AdmissionAttributes) -> None:
    judged = {CREATE: attributes.object, DELETE: attributes.old_object}.get(attributes.operation)
    if judged is not None and (judged.get("spec") or {}).get("nodeName") != node:
        verb = attributes.operation.lower()
        raise attributes.forbid(
            f"can only {verb} ResourceSlice with the same NodeName as the requesting node"
        )


def _signing_request(node: str, attributes: AdmissionAttributes) -> None:
    """The subject of a serving or client request must be the node itself."""
    if attributes.operation != CREATE or attributes.subresource or attributes.object is None:
        return
    spec = attributes.object.get("spec") or {}
    if spec.get("signerName") not in (
        "kubernetes.io/kubelet-serving",
        "kubernetes.io/kube-apiserver-client-kubelet",
    ):
        return
    try:
        subject = parse_request(attributes.object).subject
    except ValueError as failure:
        raise attributes.forbid(f"unable to parse csr: {failure}") from failure
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [name.value for name in names] != [f"system:node:{node}"]:
        raise attributes.forbid(f"can only create a node CSR with CN=system:node:{node}")
