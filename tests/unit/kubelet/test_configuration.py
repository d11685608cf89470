"""The kubelet's configuration file and its static pods' manifests, as they are read."""

import re
from pathlib import Path
from typing import Any

import pytest

from kybern.kubelet.config import Config
from kybern.kubelet.configuration import ConfigurationError, apply
from kybern.kubelet.sources.manifests import BadManifest, Manifests, static_pod

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: main, image: img}]}
"""


def configured(text: str, **flags: Any) -> Config:
    return apply(Config(**flags, given=frozenset(flags)), (HEAD + text).encode())


def test_fields_set_what_flags_set_and_flags_win() -> None:
    text = """
staticPodPath: /etc/manifests
clusterDNS: [10.0.0.10]
maxPods: 50
nodeStatusUpdateFrequency: 1m30s
evictionHard: {memory.available: 200Mi}
systemReserved: {cpu: 100m, memory: 1Gi}
authentication: {anonymous: {enabled: true}, x509: {clientCAFile: /ca.crt}}
crashLoopBackOff: {maxContainerRestartPeriod: 20s}
registerWithTaints: [{key: a, value: b, effect: NoSchedule}]
imageMinimumGCAge: 0s
cpuManagerPolicy: static
cpuManagerPolicyOptions: {full-pcpus-only: "true"}
cpuManagerReconcilePeriod: 5s
reservedSystemCPUs: 0-1
shutdownGracePeriodByPodPriority: [{priority: 1000, shutdownGracePeriodSeconds: 10}]
memoryManagerPolicy: Static
reservedMemory:
- {numaNode: 0, limits: {memory: 1Gi, hugepages-2Mi: 64Mi}}
- {numaNode: 1, limits: {memory: 100Mi}}
topologyManagerPolicy: restricted
topologyManagerPolicyOptions: {prefer-closest-numa-nodes: "true"}
topologyManagerScope: pod
rotateCertificates: true
staticPodURLHeader: {a: ["1", "2"], b: ["3"]}
configMapAndSecretChangeDetectionStrategy: Cache
imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages
preloadedImagesVerificationAllowlist: [registry.example/base/*]
serverTLSBootstrap: true
"""
    found = configured(text, max_pods=7)
    assert found.pod_manifest_path == "/etc/manifests"
    assert found.cluster_dns == ("10.0.0.10",)
    assert found.max_pods == 7
    assert found.node_status_update_frequency == 90
    assert found.eviction_hard == ("memory.available<200Mi",)
    assert found.system_reserved == ("cpu=100m", "memory=1Gi")
    assert (found.anonymous_auth, found.client_ca_file) == (True, "/ca.crt")
    assert (found.rotate_certificates, found.rotate_server_certificates) == (True, True)
    assert found.max_container_restart_period == 20
    assert found.change_detection_strategy == "Cache"
    assert found.image_pull_credentials_verification_policy == "NeverVerifyAllowlistedImages"
    assert found.preloaded_images_verification_allowlist == ("registry.example/base/*",)
    assert found.shutdown_grace_period_by_pod_priority == ("1000=10",)
    assert found.cpu_manager_policy == "static"
    assert found.policy_options() == {"full-pcpus-only": "true"}
    assert found.cpu_manager_reconcile_period == 5
    assert found.memory_manager_policy == "Static"
    assert found.reserved_memory == ("0:memory=1Gi", "0:hugepages-2Mi=64Mi", "1:memory=100Mi")
    assert (found.topology_manager_policy, found.topology_manager_scope) == ("restricted", "pod")
    assert found.topology_options() == {"prefer-closest-numa-nodes": "true"}
    assert found.reserved() == {"cpu": 2000, "memory": 1024**3 * 1000}
    assert found.manifest_url_header == ("a:1", "a:2", "b:3")
    assert found.register_with_taints == ("a=b:NoSchedule",)
    assert found.minimum_image_ttl_duration == Config().minimum_image_ttl_duration


def test_gates_of_file_and_flags_are_put_together_and_flags_win() -> None:
    text = "featureGates: {ClusterTrustBundle: true, PodCertificateRequest: true}"
    flags = ("PodCertificateRequest=false", "ClusterTrustBundleProjection=true")
    gates = configured(text, feature_gates=flags).gates()
    assert gates.enabled("ClusterTrustBundle")
    assert gates.enabled("ClusterTrustBundleProjection")
    assert not gates.enabled("PodCertificateRequest")
    assert not configured("").gates().enabled("PodCertificateRequest")


@pytest.mark.parametrize(
    ("text", "pulls"),
    [
        ("", 1),
        ("serializeImagePulls: true", 1),
        ("serializeImagePulls: true\nmaxParallelImagePulls: 1", 1),
        ("maxParallelImagePulls: 3", 3),
        ("serializeImagePulls: false\nmaxParallelImagePulls: 3", 3),
        ("serializeImagePulls: false", 7),
    ],
)
def test_images_are_pulled_one_by_one_unless_the_file_says_otherwise(text: str, pulls: int) -> None:
    assert configured(text, max_pods=7).parallel_pulls() == pulls


def test_default_thresholds_are_kept_where_the_file_asks_for_it() -> None:
    found = configured("mergeDefaultEvictionSettings: true\nevictionHard: {nodefs.available: 1%}")
    assert found.eviction_hard[0] == "nodefs.available<1%"
    assert "memory.available<100Mi" in found.eviction_hard
    assert len(found.eviction_hard) == len(Config().eviction_hard)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fooBar: 1", 'strict decoding error: unknown field "fooBar"'),
        (
            "authentication: {x509: {file: a}}",
            'strict decoding error: unknown field "authentication.x509.file"',
        ),
        ("maxPods: many", "maxPods: expected int, found str"),
        ("cgroupDriver: runc", "cgroupDriver: 'runc' is none of cgroupfs, systemd"),
        ("topologyManagerPolicyOptions: {max-allowable-numa-nodes: 9}", "expected str, found int"),
        ("enforceNodeAllocatable: [pods, kube-reserved]", "[pods, kube-reserved] is not supported"),
        (
            "reservedMemory: [{numaNode: 1, limits: {cpu: 1}}]",
            "reservedMemory.limits.cpu: expected str, found int",
        ),
        (
            'reservedMemory: [{numaNode: 1, limits: {cpu: "1"}}]',
            'invalid configuration: the limit type "cpu" for NUMA node 1 is not supported, '
            "only [memory hugepages-<HugePageSize>] is accepted",
        ),
        ("syncFrequency: 1m\nproviderID: x", "providerID: 'x' is not supported"),
        ("evictionHard: {disk: 1Gi}", "unsupported eviction signal disk"),
        ("nodeStatusUpdateFrequency: 10", "nodeStatusUpdateFrequency: expected str, found int"),
        ("maxPods: 1\nmaxPods: 2", "strict decoding error: "),
        ("serializeImagePulls: true\nmaxParallelImagePulls: 2", "cannot be larger than 1"),
        ("featureGates: {NoGate: true}", "unrecognized feature gate: NoGate"),
        ("featureGates: {ClusterTrustBundleProjection: true}", "features that are disabled"),
        ("maxParallelImagePulls: 0", "must be a positive number"),
        ("configMapAndSecretChangeDetectionStrategy: Poll", "is none of Watch, Cache, Get"),
    ],
)
def test_what_is_unknown_or_not_there_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        configured(text)


def test_only_a_kubelet_configuration_is_read() -> None:
    with pytest.raises(ConfigurationError, match="no kind"):
        apply(Config(), b"apiVersion: v1\nkind: Pod\n")


def test_a_manifest_becomes_a_pod_of_this_node() -> None:
    found = static_pod(POD.encode(), "/m/web.yaml", "node-1")
    meta = found["metadata"]
    assert (meta["name"], meta["namespace"]) == ("web-node-1", "default")
    assert meta["annotations"]["kubernetes.io/config.hash"] == meta["uid"]
    assert found["spec"]["nodeName"] == "node-1"
    assert found["spec"]["tolerations"] == [{"operator": "Exists", "effect": "NoExecute"}]
    assert found["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert static_pod(POD.encode(), "/m/web.yaml", "node-1") == found
    assert static_pod(POD.encode(), "/m/other.yaml", "node-1")["metadata"]["uid"] != meta["uid"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("serviceAccountName: a", "serviceaccounts"),
        ("imagePullSecrets: [{name: a}]", "secrets"),
        ("volumes: [{name: v, configMap: {name: a}}]", "configmaps (via configmap volumes)"),
        (
            "volumes: [{name: v, projected: {sources: [{secret: {name: a}}]}}]",
            "secrets (via projected volumes)",
        ),
    ],
)
def test_a_static_pod_refers_to_nothing_in_the_api(fields: str, problem: str) -> None:
    text = POD.replace("spec: {", f"spec: {{{fields}, ")
    with pytest.raises(BadManifest, match=re.escape(f"static pods may not reference {problem}")):
        static_pod(text.encode(), "/m/web.yaml", "n")


def test_bad_files_are_left_out_and_changes_are_seen(tmp_path: Path) -> None:
    manifests = Manifests(str(tmp_path), "n")
    assert manifests.read() == []
    (tmp_path / "bad.yaml").write_text("kind: Service\napiVersion: v1\n")
    (tmp_path / ".hidden.yaml").write_text(POD)
    (tmp_path / "web.yaml").write_text(POD)
    (pod,) = manifests.read()
    assert manifests.read()[0] is pod
    (tmp_path / "web.yaml").write_text(POD.replace("img", "image:2"))
    assert manifests.read()[0]["metadata"]["uid"] != pod["metadata"]["uid"]
    (tmp_path / "web.yaml").unlink()
    assert manifests.read() == []
    assert Manifests("", "n").read() == []
