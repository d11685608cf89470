"""Pod Security Standards: what each level refuses, by version, and what namespaces ask for."""

import pytest

from kybern.api.errors import Obj, StatusError
from kybern.apiserver.admission import UPDATE
from kybern.apiserver.admission.pod_security import PodSecurity
from kybern.apiserver.admission.pod_security_standards import (
    BASELINE,
    LATEST,
    RESTRICTED,
    Standard,
    policy_of,
)

HARD = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(container: Obj | None = None, context: Obj | None = None, **spec: object) -> Obj:
    own = {"name": "c", "image": "i", "securityContext": context or {}, **(container or {})}
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": [own], **spec},
    }


def namespace(**labels: str) -> Obj:
    marked = {
        f"pod-security.kubernetes.io/{mode.replace('_', '-')}": level
        for mode, level in labels.items()
    }
    return {"kind": "Namespace", "metadata": {"name": "ns", "labels": marked}}


def reasons(standard: Standard, judged: Obj) -> list[str]:
    return [f.reason for f in standard.findings(judged["metadata"], judged["spec"])]


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        (pod(hostNetwork=True), "host namespaces"),
        (pod(volumes=[{"name": "h", "hostPath": {"path": "/"}}]), "hostPath volumes"),
        (pod({"ports": [{"hostPort": 80}]}), "hostPort"),
        (pod(context={"privileged": True}), "privileged"),
        (pod(context={"capabilities": {"add": ["SYS_ADMIN"]}}), "non-default capabilities"),
        (pod(context={"procMount": "Unmasked"}), "procMount"),
        (pod(context={"seLinuxOptions": {"type": "spc_t"}}), "seLinuxOptions"),
        (pod(context={"seccompProfile": {"type": "Unconfined"}}), "seccompProfile"),
        (pod(context={"appArmorProfile": {"type": "Unconfined"}}), "forbidden AppArmor profile"),
        (pod(context={"windowsOptions": {"hostProcess": True}}), "hostProcess"),
        (
            pod(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}),
            "forbidden sysctls",
        ),
        (
            pod({"livenessProbe": {"httpGet": {"host": "example.com"}}}),
            "probe or lifecycle host",
        ),
    ],
)
def test_baseline_refuses(judged: Obj, reason: str) -> None:
    assert reasons(Standard(BASELINE), judged) == [reason]


@pytest.mark.parametrize(
    "judged",
    [
        pod(),
        pod(context={"capabilities": {"add": ["NET_BIND_SERVICE", "CHOWN"]}}),
        pod(context={"seLinuxOptions": {"type": "container_engine_t"}}),
        pod(context={"procMount": "Unmasked"}, hostUsers=False),
        pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}),
    ],
)
def test_baseline_allows(judged: Obj) -> None:
    assert reasons(Standard(BASELINE), judged) == []


@pytest.mark.parametrize(
    ("context", "spec", "reason"),
    [
        ({"allowPrivilegeEscalation": None}, {}, "allowPrivilegeEscalation != false"),
        ({"capabilities": {}}, {}, "unrestricted capabilities"),
        ({"runAsNonRoot": False}, {}, "runAsNonRoot != true"),
        ({"runAsNonRoot": None}, {}, "runAsNonRoot != true"),
        ({"runAsUser": 0}, {}, "runAsUser=0"),
        ({"seccompProfile": None}, {}, "seccompProfile"),
        ({}, {"volumes": [{"name": "n", "nfs": {}}]}, "restricted volume types"),
        ({}, {"volumes": [{"name": "h", "hostPath": {}}]}, "restricted volume types"),
    ],
)
def test_restricted_refuses(context: Obj, spec: Obj, reason: str) -> None:
    judged = pod(context={**HARD, **context}, **spec)
    assert reasons(Standard(RESTRICTED), judged) == [reason]


def test_restricted_allows_the_hardened() -> None:
    assert reasons(Standard(RESTRICTED), pod(context=HARD)) == []
    everything = {"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": True}}
    assert reasons(Standard(RESTRICTED), pod(**everything)) == []


@pytest.mark.parametrize(
    ("version", "judged", "count"),
    [
        (28, pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_fin_timeout"}]}), 1),
        (29, pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_fin_timeout"}]}), 0),
        (33, pod({"livenessProbe": {"httpGet": {"host": "x"}}}), 0),
        (34, pod({"livenessProbe": {"httpGet": {"host": "x"}}}), 1),
        (34, pod(context={"procMount": "Unmasked"}, hostUsers=False), 1),
    ],
)
def test_a_pinned_version_keeps_its_rules(version: int, judged: Obj, count: int) -> None:
    assert len(reasons(Standard(BASELINE, version), judged)) == count


def test_the_refusal_tells_everything(known, write, judge) -> None:
    plugin = PodSecurity({}, known(namespace(enforce="restricted")))
    with pytest.raises(StatusError) as refused:
        judge(plugin, write(pod(hostPID=True), "pods"))
    assert refused.value.message == (
        'pods "p" is forbidden: violates PodSecurity "restricted:latest": '
        "host namespaces (hostPID=true), "
        'allowPrivilegeEscalation != false (container "c" must set '
        "securityContext.allowPrivilegeEscalation=false), "
        'unrestricted capabilities (container "c" must set '
        'securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to '
        '"RuntimeDefault" or "Localhost")'
    )


def test_a_warning_lets_the_pod_in(known, write, judge) -> None:
    plugin = PodSecurity({}, known(namespace(warn="baseline")))
    attributes = judge(plugin, write(pod(hostPID=True), "pods"))
    assert attributes.warnings == [
        'would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)'
    ]


def test_workloads_are_only_warned_about(known, write, judge) -> None:
    plugin = PodSecurity({}, known(namespace(enforce="baseline")))
    deployment = {"metadata": {"name": "d"}, "spec": {"template": pod(hostPID=True)}}
    assert judge(plugin, write(deployment, "deployments.apps")).warnings


def test_updates_that_bring_no_container_pass(known, write, judge) -> None:
    plugin = PodSecurity({}, known(namespace(enforce="baseline")))
    old = pod(hostPID=True)
    judge(plugin, write(pod(hostPID=True), "pods", old=old, operation=UPDATE))
    changed = pod({"image": "other"}, hostPID=True)
    with pytest.raises(StatusError):
        judge(plugin, write(changed, "pods", old=old, operation=UPDATE))


def test_a_stricter_namespace_warns_of_its_pods(known, write, judge) -> None:
    plugin = PodSecurity({}, known(pod(hostPID=True)))
    attributes = write(
        namespace(enforce="baseline"), "namespaces", old=namespace(), operation=UPDATE
    )
    assert judge(plugin, attributes).warnings == [
        'existing pods in namespace "ns" violate the new PodSecurity enforce level '
        '"baseline:latest"',
        "p: host namespaces",
    ]


def test_labels_that_make_no_sense_are_refused(known, write, judge) -> None:
    with pytest.raises(StatusError) as refused:
        judge(PodSecurity({}, known()), write(namespace(enforce="strict"), "namespaces"))
    assert refused.value.code == 422
    assert "must be one of privileged, baseline, restricted" in refused.value.message


def test_warnings_follow_what_is_enforced() -> None:
    labels = namespace(enforce="restricted", enforce_version="v1.30")["metadata"]["labels"]
    policy, errors = policy_of(labels)
    assert errors == []
    assert (str(policy.enforce), str(policy.warn)) == ("restricted:v1.30", "restricted:v1.30")
    assert policy.audit.version == LATEST
