"""The Node authorizer: a kubelet reaches what its pods need, and nothing of other nodes."""

import pytest
from objects_lookup import ObjectsLookup

from kybern.api.errors import Obj
from kybern.api.user import UserInfo
from kybern.apiserver.authorization.node import NodeAuthorizer
from kybern.apiserver.authorization.node_graph import NodeGraph
from kybern.apiserver.request_info import Attributes

NODE = UserInfo("system:node:n1", ("system:nodes",))


def pod(name: str, node: str, **spec: object) -> Obj:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"nodeName": node, "containers": [], **spec},
    }


def volume_pod() -> Obj:
    return pod(
        "web",
        "n1",
        serviceAccountName="account",
        imagePullSecrets=[{"name": "pull"}],
        containers=[
            {
                "name": "c",
                "env": [{"name": "x", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
            }
        ],
        volumes=[
            {"name": "a", "secret": {"secretName": "mounted"}},
            {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
        ],
    )


def lookup() -> ObjectsLookup:
    return ObjectsLookup(
        volume_pod(),
        pod("other", "n2", volumes=[{"name": "a", "secret": {"secretName": "theirs"}}]),
        {
            "kind": "PersistentVolume",
            "metadata": {"name": "pv1"},
            "spec": {
                "claimRef": {"namespace": "ns", "name": "data"},
                "csi": {"nodeStageSecretRef": {"namespace": "csi", "name": "stage"}},
            },
        },
        {
            "kind": "VolumeAttachment",
            "metadata": {"name": "va1"},
            "spec": {"nodeName": "n1"},
        },
    )


def asks(verb: str, resource: str, name: str = "", namespace: str = "", **more: str) -> Attributes:
    group, _, rest = resource.rpartition(":")
    plural, _, subresource = rest.partition("/")
    return Attributes(
        NODE,
        verb,
        group=group,
        resource=plural,
        subresource=subresource,
        name=name,
        namespace=namespace,
        **more,
    )


@pytest.mark.parametrize(
    "attributes",
    [
        asks("get", "secrets", "mounted", "ns"),
        asks("watch", "secrets", "pull", "ns"),
        asks("get", "secrets", "env", "ns"),
        asks("get", "secrets", "stage", "csi"),
        asks("list", "configmaps", "settings", "ns"),
        asks("get", "configmaps", "projected", "ns"),
        asks("get", "persistentvolumeclaims", "data", "ns"),
        asks("get", "persistentvolumeclaims", "web-scratch", "ns"),
        asks("update", "persistentvolumeclaims/status", "data", "ns"),
        asks("get", "persistentvolumes", "pv1"),
        asks("get", "storage.k8s.io:volumeattachments", "va1"),
        asks("create", "serviceaccounts/token", "account", "ns"),
        asks("get", "serviceaccounts", "account", "ns"),
        asks("get", "nodes", "n1"),
        asks("patch", "nodes/status", "n1"),
        asks("get", "pods", "web", "ns"),
        asks("list", "pods", field_selector="spec.nodeName=n1"),
        asks("update", "pods/status", "web", "ns"),
        asks("create", "pods/eviction", "web", "ns"),
        asks("update", "coordination.k8s.io:leases", "n1", "kube-node-lease"),
        asks("get", "storage.k8s.io:csinodes", "n1"),
        asks("list", "services"),
        asks("create", "events", "", "ns"),
        asks("create", "authentication.k8s.io:tokenreviews"),
    ],
)
def test_a_node_reaches_what_is_its_own(attributes: Attributes) -> None:
    assert NodeAuthorizer(NodeGraph(lookup())).decide(attributes).allowed


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (asks("get", "secrets", "theirs", "ns"), "no relationship found between node 'n1'"),
        (asks("get", "secrets", "mounted", "elsewhere"), "no relationship found"),
        (asks("list", "secrets", "", "ns"), "No Object name found"),
        (asks("list", "secrets"), "can only read namespaced object of this type"),
        (asks("delete", "secrets", "mounted", "ns"), "can only read resources of this type"),
        (asks("list", "persistentvolumes"), "can only get individual resources"),
        (asks("create", "serviceaccounts/token", "default", "ns"), "no relationship found"),
        (asks("get", "nodes", "n2"), "node 'n1' cannot read 'n2', only its own Node object"),
        (asks("list", "nodes"), "node 'n1' cannot read all nodes, only its own Node object"),
        (asks("list", "pods"), "can only list/watch pods with spec.nodeName field selector"),
        (asks("list", "pods", field_selector="spec.nodeName=n2"), "can only list/watch pods"),
        (asks("get", "pods", "other", "ns"), "no relationship found"),
        (
            asks("update", "coordination.k8s.io:leases", "n2", "kube-node-lease"),
            "can only access node lease with the same name as the requesting node",
        ),
        (asks("get", "coordination.k8s.io:leases", "n1", "default"), "can only access leases in"),
        (asks("get", "storage.k8s.io:csinodes", "n2"), "can only access CSINode"),
        (asks("list", "apps:deployments"), ""),
    ],
)
def test_a_node_is_kept_from_what_is_not(attributes: Attributes, reason: str) -> None:
    decision = NodeAuthorizer(NodeGraph(lookup())).decide(attributes)
    assert not decision.allowed
    assert decision.reason.startswith(reason)


def test_a_secret_is_out_of_reach_once_the_last_pod_is_gone() -> None:
    objects = lookup()
    authorizer = NodeAuthorizer(NodeGraph(objects))
    twin = {**volume_pod(), "metadata": {"name": "twin", "namespace": "ns", "uid": "twin"}}
    objects.put(twin)
    objects.drop(volume_pod())
    assert authorizer.decide(asks("get", "secrets", "mounted", "ns")).allowed
    objects.drop(twin)
    assert not authorizer.decide(asks("get", "secrets", "mounted", "ns")).allowed


def test_a_pod_is_its_nodes_from_the_binding_on() -> None:
    objects = ObjectsLookup()
    authorizer = NodeAuthorizer(NodeGraph(objects))
    unbound = volume_pod()
    unbound["spec"].pop("nodeName")
    objects.put(unbound)
    assert not authorizer.decide(asks("get", "secrets", "mounted", "ns")).allowed
    objects.put(volume_pod())
    assert authorizer.decide(asks("get", "secrets", "mounted", "ns")).allowed


def test_a_mirror_pod_opens_no_way() -> None:
    mirror = volume_pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    authorizer = NodeAuthorizer(NodeGraph(ObjectsLookup(mirror)))
    assert not authorizer.decide(asks("get", "secrets", "mounted", "ns")).allowed


def test_it_has_no_opinion_on_others() -> None:
    attributes = asks("get", "nodes", "n1")
    attributes.user = UserInfo("system:node:n1", ("somebody",))
    decision = NodeAuthorizer(NodeGraph(lookup())).decide(attributes)
    assert (decision.allowed, decision.reason) == (False, "")
