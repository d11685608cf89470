"""Routes, CNI configuration, kernel settings and stale flows, as pure functions and files."""

import json
from pathlib import Path
from typing import Any

import pytest

from kybern.network import cni, sysctls
from kybern.network.conntrack import Flow, Wanted, parse, stale
from kybern.network.nftables.host_ports import host_port_fragment, udp_host_ports
from kybern.network.routes import Route, routes_to_pods


def node(name: str, cidr: str = "", address: str = "") -> dict[str, Any]:
    addresses = [{"type": "Hostname", "address": name}]
    if address:
        addresses.append({"type": "InternalIP", "address": address})
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    return {"metadata": {"name": name}, "spec": spec, "status": {"addresses": addresses}}


def test_there_is_a_route_to_every_other_node_that_can_have_one() -> None:
    nodes = [
        node("here", "10.244.0.0/24", "192.0.2.1"),
        node("there", "10.244.1.0/24", "192.0.2.2"),
        node("without-cidr", "", "192.0.2.3"),
        node("without-address", "10.244.3.0/24"),
        node("broken", "10.244.4.0/99", "192.0.2.4"),
        {"metadata": {"name": "empty"}},
    ]
    assert routes_to_pods(nodes, "here") == [Route("10.244.1.0/24", "192.0.2.2")]


def test_the_cni_configuration_is_written_once_and_whole(tmp_path: Path) -> None:
    first = cni.conflist("kybern", "10.244.1.0/24", "/data", 1400)
    assert cni.write(tmp_path / "net.d", first)
    assert not cni.write(tmp_path / "net.d", first)
    assert cni.write(tmp_path / "net.d", cni.conflist("kybern", "10.244.2.0/24", "/data", 1400))
    (file,) = (tmp_path / "net.d").iterdir()
    bridge = json.loads(file.read_text())["plugins"][0]
    assert bridge["hairpinMode"] and not bridge["ipMasq"] and bridge["mtu"] == 1400
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.2.0/24"}]]


def test_settings_are_recorded_once_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctls, "ROOT", tmp_path)
    (tmp_path / "one").write_text("0\n")
    (tmp_path / "two").write_text("1\n")
    record = tmp_path / "record.json"
    assert sysctls.apply({"one": "1", "two": "1", "none": "1"}, record) == ["none"]
    (tmp_path / "one").write_text("0")
    sysctls.apply({"one": "1"}, record)
    assert (tmp_path / "one").read_text() == "1"
    sysctls.restore(record)
    assert (tmp_path / "one").read_text() == "0" and (tmp_path / "two").read_text() == "1\n"
    assert not record.exists()
    sysctls.restore(record)


LISTING = """\
udp      17 29 src=10.244.1.9 dst=10.96.0.10 sport=40000 dport=53 src=10.244.1.5 dst=10.244.1.9 sport=5353 dport=40000 [ASSURED] mark=0 use=1
udp      17 29 src=10.0.0.9 dst=10.0.0.1 sport=40000 dport=30053 src=10.244.1.5 dst=10.0.0.1 sport=5353 dport=40000 mark=0 use=1
udp      17 29 src=10.0.0.9 dst=10.0.0.7 sport=40000 dport=30053 [UNREPLIED] src=10.0.0.7 dst=10.0.0.9 sport=30053 dport=40000 mark=0 use=1
udp      17 29 src=10.244.1.9 dst=10.96.0.11 sport=40001 dport=53 [UNREPLIED] src=10.96.0.11 dst=10.244.1.9 sport=53 dport=40001 mark=0 use=1
icmp     1 29 src=10.0.0.9 dst=10.0.0.1 type=8 code=0 id=1 src=10.0.0.1 dst=10.0.0.9 type=0 code=0 id=1 mark=0 use=1
"""  # noqa: E501


def test_flows_are_stale_where_their_service_leads_elsewhere() -> None:
    flows = list(parse(LISTING))
    assert flows[0] == Flow(("10.96.0.10", 53), ("10.244.1.5", 5353))
    assert len(flows) == 4
    here, other = {("10.244.1.5", 5353)}, {("10.244.1.6", 5353)}
    assert stale(flows, Wanted({("10.96.0.10", 53): here}, {30053: here})) == []
    assert stale(flows, Wanted({("10.96.0.10", 53): other})) == [flows[0]]
    assert stale(flows, Wanted({("10.96.0.10", 53): set()})) == [flows[0]]
    # Another machine's port of the same number is no node port of ours.
    assert stale(flows, Wanted({}, {30053: other})) == [flows[1]]
    # A flow from before the Service had rules leads past it.
    assert stale(flows, Wanted({("10.96.0.11", 53): other})) == [flows[3]]


def pod(**status: Any) -> dict[str, Any]:
    ports = [
        {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"},
        {"containerPort": 80, "hostPort": 8080, "hostIP": "192.0.2.1"},
        {"containerPort": 81},
    ]
    return {"spec": {"containers": [{"ports": ports}]}, "status": status}


def test_host_ports_follow_the_pod_s_life() -> None:
    running = pod(phase="Running", podIP="10.244.1.5")
    assert host_port_fragment(running).elements == {
        ("host-ports", "udp . 5353"): "10.244.1.5 . 53",
        ("host-ports-at", "192.0.2.1 . tcp . 8080"): "10.244.1.5 . 80",
        ("hairpins", "10.244.1.5 . 10.244.1.5"): None,
    }
    assert udp_host_ports(running) == {5353: {("10.244.1.5", 53)}}
    assert not host_port_fragment(pod(phase="Pending")).elements
    assert not host_port_fragment(pod(phase="Succeeded", podIP="10.244.1.5")).elements
    running["spec"]["hostNetwork"] = True
    assert not host_port_fragment(running).elements
