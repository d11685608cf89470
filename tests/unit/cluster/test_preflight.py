"""Preflight: each finding names what is wrong and what to do."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kybern.cluster import preflight
from kybern.cluster.preflight import Outcome, Plan

NETWORK = ipaddress.IPv4Network


def test_findings_are_data() -> None:
    for finding in preflight.examine(Plan(ports=())):
        assert set(finding.as_dict()) == {"name", "outcome", "detail", "fix"}
        assert (finding.outcome == Outcome.OK) == (finding.fix == "")


def test_without_root_the_way_out_is_simulated_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    finding = preflight._root()
    assert finding.outcome == Outcome.FAILED and "--simulated-nodes" in finding.fix


def test_missing_programs_are_named_with_the_distribution_s_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "find_program", lambda name: None)
    monkeypatch.setattr(preflight, "cni_directory", lambda: None)
    (finding,) = preflight._programs(Plan())
    assert finding.outcome == Outcome.FAILED
    for name in ("containerd", "nft", "conntrack", "crun or runc", "the CNI plugins"):
        assert name in finding.detail
    assert "install" in finding.fix


def test_ranges_that_the_machine_uses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def used() -> Iterator[tuple[ipaddress.IPv4Network, str]]:
        yield NETWORK("10.0.0.0/8"), "tun0"

    monkeypatch.setattr(preflight, "_networks_in_use", used)
    findings = list(preflight._ranges(Plan()))
    assert [finding.outcome for finding in findings] == [Outcome.FAILED] * 2
    assert "10.244.0.0/16 overlaps 10.0.0.0/8 of tun0" in findings[0].detail
    free = list(preflight._ranges(Plan(cluster_cidr="172.20.0.0/16", service_cidr="172.21.0.0/16")))
    assert [finding.outcome for finding in free] == [Outcome.OK]


def test_a_stub_resolver_alone_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "read_resolvers", lambda file, not_these: [])
    (finding,) = preflight._resolvers(Plan(resolv_conf=str(tmp_path / "resolv.conf")))
    assert finding.outcome == Outcome.WARNING and "--dns-upstream" in finding.fix


def test_ports_in_use_are_named() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        (finding,) = preflight._ports(Plan(ports=(port,)))
        assert finding.outcome == Outcome.FAILED and str(port) in finding.detail
    (finding,) = preflight._ports(Plan(ports=(port,)))
    assert finding.outcome == Outcome.OK


def test_other_firewalls_that_drop_are_named_with_the_rule_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "_forward_drops", lambda: iter(["nftables table ip filter"]))
    (finding,) = preflight._other_firewalls(Plan())
    assert finding.outcome == Outcome.WARNING
    assert "table ip filter" in finding.detail and "10.244.0.0/16" in finding.fix


def test_a_kernel_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(preflight, "_probe", lambda command, data: "not supported")
    findings = list(preflight._packet_features(Plan()))
    assert [finding.name for finding in findings] == ["nftables", "bridge", "veth"]
    assert all(finding.detail == "not supported" for finding in findings)
