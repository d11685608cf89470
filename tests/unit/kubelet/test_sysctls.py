"""Which kernel parameters a node lets its pods set."""

from typing import Any

import pytest
from kubelet_pods import pod

from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.admission.sysctls import SysctlAllowlist, dotted


def judged(name: str, *unsafe: str, **fields: Any) -> str:
    asking = pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **fields)
    refusal = SysctlAllowlist(unsafe).judge(asking)
    assert refusal is None or refusal.reason == "SysctlForbidden"
    return refusal.message if refusal else ""


def test_safe_parameters_and_allowed_ones_are_set() -> None:
    assert judged("kernel.shm_rmid_forced") == judged("net/ipv4/tcp_rmem") == ""
    assert (
        judged("kernel.msgmax", "kernel.msg*") == judged("net.core.somaxconn", "net.core.*") == ""
    )
    assert SysctlAllowlist(()).judge(pod()) is None


@pytest.mark.parametrize(
    "name", ["kernel.msgmax", "net.core.somaxconn", "vm.swappiness", "kernel.shm"]
)
def test_all_others_are_refused(name: str) -> None:
    assert judged(name, "kernel.sem") == f'forbidden sysctl: "{name}" not allowlisted'


def test_the_nodes_own_namespaces_are_left_alone() -> None:
    text = 'forbidden sysctl: "{}" not allowed with host {} enabled'
    net, ipc = "net.ipv4.tcp_rmem", "kernel.shm_rmid_forced"
    assert judged(net, hostNetwork=True) == text.format(net, "net")
    assert judged(ipc, hostIPC=True) == text.format(ipc, "ipc")
    assert judged(net, hostIPC=True) == judged(ipc, hostNetwork=True) == ""


@pytest.mark.parametrize("pattern", ["vm.swappiness", "kernel.*", "*"])
def test_what_the_kernel_has_once_cannot_be_allowed(pattern: str) -> None:
    with pytest.raises(BadFlag, match="not known to be namespaced"):
        SysctlAllowlist((pattern,))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net.ipv4.conf.eth0/1.x", "net.ipv4.conf.eth0/1.x"),
        ("net/ipv4/conf/eth0.1/x", "net.ipv4.conf.eth0/1.x"),
        ("plain", "plain"),
    ],
)
def test_names_may_be_written_as_paths(name: str, expected: str) -> None:
    assert dotted(name) == expected


def test_a_refusal_is_upstreams() -> None:
    asking = pod(securityContext={"sysctls": [{"name": "kernel.sem", "value": "1"}]})
    expected = Refusal("SysctlForbidden", 'forbidden sysctl: "kernel.sem" not allowlisted')
    assert SysctlAllowlist(()).judge(asking) == expected
