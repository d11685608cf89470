"""NodeRestriction, and the plugins for nodes, volumes, classes and certificate requests."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from kybern.api.errors import Obj, StatusError
from kybern.api.user import UserInfo
from kybern.apiserver.admission import DELETE, UPDATE
from kybern.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from kybern.apiserver.admission.default_class import DefaultIngressClass, DefaultStorageClass
from kybern.apiserver.admission.node_restriction import NodeRestriction
from kybern.apiserver.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from kybern.apiserver.admission.storage_object_in_use_protection import (
    StorageObjectInUseProtection,
)
from kybern.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from kybern.apiserver.authorization.authorizer import Authorizers, Decision
from kybern.apiserver.request_info import Attributes
from kybern.component.pki import generate_key

NODE = UserInfo("system:node:n1", ("system:nodes",))
CSR = "certificatesigningrequests.certificates.k8s.io"


def named(kind: str, name: str, **fields: object) -> Obj:
    return {"kind": kind, "metadata": {"name": name, "uid": f"uid-{name}"}, **fields}


def pod(node: str, name: str = "p", **spec: object) -> Obj:
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
    return {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": node, **spec}}


def mirror(**spec: object) -> Obj:
    found = pod("n1", **spec)
    found["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-n1", "controller": True}
    found["metadata"]["ownerReferences"] = [owner]
    return found


def token_request(**reference: str) -> Obj:
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "uid-p", **reference}
    return {"metadata": {}, "spec": {"boundObjectRef": bound}}


TOKEN_POD = pod(
    "n1",
    volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
)


def labelled(**labels: str) -> Obj:
    found = named("Node", "n1")
    found["metadata"]["labels"] = {key.replace("__", "/"): v for key, v in labels.items()}
    return found


class Verdict:
    """An authorizer that allows one verb."""

    def __init__(self, verb: str = "") -> None:
        self._verb = verb

    def decide(self, attributes: Attributes) -> Decision:
        return Decision(attributes.verb == self._verb)


ALLOWED = [
    ("nodes", "CREATE", named("Node", "n1"), None),
    ("nodes/status", UPDATE, named("Node", "n1"), named("Node", "n1")),
    ("pods", "CREATE", mirror(), None),
    ("pods", DELETE, None, pod("n1")),
    ("pods/status", UPDATE, pod("n1"), pod("n1")),
    ("serviceaccounts/token", "CREATE", token_request(), None),
    ("csinodes.storage.k8s.io", "CREATE", named("CSINode", "n1"), None),
]
REFUSED = [
    ("nodes", "CREATE", named("Node", "n2"), None, 'not allowed to modify node "n2"'),
    (
        "nodes",
        UPDATE,
        {**named("Node", "n1"), "spec": {"taints": [{"key": "x"}]}},
        named("Node", "n1"),
        "not allowed to modify taints",
    ),
    ("pods", "CREATE", pod("n1"), None, "can only create mirror pods"),
    ("pods", "CREATE", mirror(serviceAccountName="x"), None, "that reference serviceaccounts"),
    ("pods", UPDATE, pod("n1"), pod("n1"), "can only create and delete mirror pods"),
    ("pods", DELETE, None, pod("n2", "theirs"), "can only delete pods with spec.nodeName"),
    ("pods/status", UPDATE, pod("n2"), pod("n2"), "can only update pod status for pods"),
    ("pods/binding", "CREATE", {"metadata": {"name": "p"}}, None, "unexpected pod subresource"),
    ("serviceaccounts/token", "CREATE", {"spec": {}}, None, "token not bound to a pod"),
    ("serviceaccounts/token", "CREATE", token_request(uid="x"), None, "does not match the UID"),
    (
        "serviceaccounts/token",
        "CREATE",
        token_request(name="theirs", uid="uid-theirs"),
        None,
        "pod scheduled on a different node",
    ),
    (
        "serviceaccounts/token",
        "CREATE",
        {"spec": {**token_request()["spec"], "audiences": ["vault"]}},
        None,
        'audience "vault" not found in pod spec volume',
    ),
    ("persistentvolumeclaims", UPDATE, named("P", "c"), named("P", "c"), "only update PVC status"),
    ("csinodes.storage.k8s.io", "CREATE", named("CSINode", "n2"), None, "same name as"),
    ("leases.coordination.k8s.io", "CREATE", named("Lease", "n1"), None, "can only access leases"),
]


@pytest.fixture
def restriction(known) -> NodeRestriction:
    lookup = known(named("Node", "n1"), TOKEN_POD, pod("n2", "theirs"))
    return NodeRestriction(lookup, Authorizers([Verdict()]))


@pytest.mark.parametrize(("resource", "operation", "obj", "old"), ALLOWED)
def test_a_node_writes_what_is_its_own(
    restriction, write, judge, resource: str, operation: str, obj: Obj | None, old: Obj | None
) -> None:
    judge(restriction, write(obj, resource, old=old, operation=operation, user=NODE))


@pytest.mark.parametrize(("resource", "operation", "obj", "old", "message"), REFUSED)
def test_a_node_writes_nothing_else(
    restriction,
    write,
    judge,
    resource: str,
    operation: str,
    obj: Obj | None,
    old: Obj | None,
    message: str,
) -> None:
    with pytest.raises(StatusError, match=message) as refused:
        judge(restriction, write(obj, resource, old=old, operation=operation, user=NODE))
    assert refused.value.code == 403


@pytest.mark.parametrize(
    ("labels", "allowed"),
    [
        ({"kubernetes.io__hostname": "n1", "topology.kubernetes.io__zone": "a"}, True),
        ({"example.com__x": "y", "node.kubernetes.io__x": "y"}, True),
        ({"node-role.kubernetes.io__control-plane": ""}, False),
        ({"team.node-restriction.kubernetes.io__x": "y"}, False),
    ],
)
def test_labels_that_a_node_may_set(
    restriction, write, judge, labels: dict[str, str], allowed: bool
) -> None:
    attributes = write(labelled(**labels), "nodes", user=NODE)
    if allowed:
        judge(restriction, attributes)
    else:
        with pytest.raises(StatusError, match="is not allowed to set the following labels"):
            judge(restriction, attributes)


def test_others_are_not_restricted(restriction, write, judge) -> None:
    judge(restriction, write(pod("n2"), "pods"))


def test_a_new_node_starts_tainted(write, judge) -> None:
    plugin = TaintNodesByCondition()
    once = judge(plugin, write(named("Node", "n1"), "nodes")).object
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    assert once["spec"]["taints"] == [taint]
    assert judge(plugin, write(once, "nodes")).object["spec"]["taints"] == [taint]


@pytest.mark.parametrize(
    ("resource", "finalizer"),
    [
        ("persistentvolumeclaims", "kubernetes.io/pvc-protection"),
        ("persistentvolumes", "kubernetes.io/pv-protection"),
    ],
)
def test_storage_is_protected_while_in_use(write, judge, resource: str, finalizer: str) -> None:
    plugin = StorageObjectInUseProtection()
    obj = judge(plugin, write(named("X", "x"), resource)).object
    assert obj["metadata"]["finalizers"] == [finalizer]


def storage_class(name: str, created: str, **fields: object) -> Obj:
    found = named("StorageClass", name, **fields)
    found["metadata"] |= {
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        "creationTimestamp": created,
    }
    return found


def test_the_newest_default_storage_class_is_taken(known, write, judge) -> None:
    classes = [
        storage_class("old", "2026-01-01T00:00:00Z"),
        storage_class("young", "2026-02-01T00:00:00Z"),
    ]
    plugin = DefaultStorageClass(known(*classes))
    claim = judge(plugin, write(named("P", "c", spec={}), "persistentvolumeclaims")).object
    assert claim["spec"]["storageClassName"] == "young"
    chosen = named("P", "c", spec={"storageClassName": ""})
    claim = judge(plugin, write(chosen, "persistentvolumeclaims")).object
    assert claim["spec"]["storageClassName"] == ""


def test_the_default_ingress_class_is_taken(known, write, judge) -> None:
    found = named("IngressClass", "nginx")
    found["metadata"]["annotations"] = {"ingressclass.kubernetes.io/is-default-class": "true"}
    plugin = DefaultIngressClass(known(found))
    obj = judge(plugin, write(named("I", "i", spec={}), "ingresses.networking.k8s.io")).object
    assert obj["spec"]["ingressClassName"] == "nginx"


def claim(size: str, phase: str = "Bound") -> Obj:
    spec = {"storageClassName": "s", "resources": {"requests": {"storage": size}}}
    return named("P", "c", spec=spec, status={"phase": phase})


@pytest.mark.parametrize(
    ("grows", "old", "message"),
    [
        (True, claim("1Gi"), ""),
        (False, claim("1Gi"), "only dynamically provisioned pvc can be resized"),
        (True, claim("1Gi", "Pending"), "Only bound persistent volume claims can be expanded"),
    ],
)
def test_claims_grow_where_their_class_lets_them(
    known, write, judge, grows: bool, old: Obj, message: str
) -> None:
    plugin = PersistentVolumeClaimResize(
        known(named("StorageClass", "s", allowVolumeExpansion=grows))
    )
    attributes = write(claim("2Gi"), "persistentvolumeclaims", old=old, operation=UPDATE)
    if message:
        with pytest.raises(StatusError, match=message):
            judge(plugin, attributes)
    else:
        judge(plugin, attributes)


def signing_request(signer: str, group: str = "", **status: str) -> Obj:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "jane")]
    if group:
        names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    pem = built.sign(generate_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    spec = {"signerName": signer, "request": base64.b64encode(pem).decode()}
    return named("CertificateSigningRequest", "csr", spec=spec, status=status)


@pytest.mark.parametrize(
    ("plugin", "part", "verb"),
    [(CertificateApproval, "approval", "approve"), (CertificateSigning, "status", "sign")],
)
def test_signers_have_their_approvers(write, judge, plugin: type, part: str, verb: str) -> None:
    new = signing_request("example.com/x", certificate="x")
    old = signing_request("example.com/x")
    attributes = write(new, f"{CSR}/{part}", old=old, operation=UPDATE)
    judge(plugin(Authorizers([Verdict(verb)])), attributes)
    attributes.user = UserInfo("jane")
    with pytest.raises(StatusError, match=f"user not permitted to {verb} requests"):
        judge(plugin(Authorizers([Verdict()])), attributes)


def test_nobody_becomes_master_by_request(write, judge) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    judge(CertificateSubjectRestriction(), write(signing_request(signer, "devs"), CSR))
    with pytest.raises(StatusError, match="with system:masters group is not allowed"):
        judge(
            CertificateSubjectRestriction(), write(signing_request(signer, "system:masters"), CSR)
        )
