"""What ``kybern up`` hands on to the processes of the control plane."""

from pathlib import Path
from typing import Any

import click
import pytest

from kybern.cluster.record import Record, processes
from kybern.cluster.wanted import wanted_record


def arguments(record: Record, group: str) -> list[str]:
    return dict(processes(record))[group]


def test_etcd_is_the_api_servers_and_makes_controllers_elect_a_leader(tmp_path: Path) -> None:
    asked = {"etcd_servers": "https://a:2379,https://b:2379", "etcd_prefix": "/x", "nodes": 0}
    record = wanted_record(tmp_path, {**asked, "flags": ("scheduler:v=4",), "etcd_cafile": None})
    assert arguments(record, "apiserver")[-2:] == [
        "--etcd-prefix=/x",
        "--etcd-servers=https://a:2379,https://b:2379",
    ]
    control = arguments(record, "control")
    assert "--leader-elect=true" in control
    assert control[-1] == "--v=4"
    record.save()
    assert wanted_record(tmp_path, {"nodes": 0}).flags == record.flags


def test_a_control_plane_with_a_file_has_no_peers(tmp_path: Path) -> None:
    record = wanted_record(tmp_path, {"nodes": 0})
    assert "--leader-elect=false" in arguments(record, "control")


def test_ranges_of_addresses_reach_all_who_hand_them_out(tmp_path: Path) -> None:
    asked = {"cluster_cidr": "10.60.0.0/16", "service_cluster_ip_range": "10.61.0.0/20"}
    record = wanted_record(tmp_path, {"nodes": 0, **asked})
    assert "--service-cluster-ip-range=10.61.0.0/20" in arguments(record, "apiserver")
    assert {"--cluster-cidr=10.60.0.0/16", "--service-cluster-ip-range=10.61.0.0/20"} <= set(
        arguments(record, "control")
    )
    assert record.cluster_dns == "10.61.0.10"


def test_a_scheduler_alone_is_told_no_addresses(tmp_path: Path) -> None:
    record = wanted_record(tmp_path, {"nodes": 0, "disable": "controller-manager"})
    assert not [flag for flag in arguments(record, "control") if "cidr" in flag or "range" in flag]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"cluster_cidr": "10.60.0.0/33"}, "10.60.0.0/33"),
        ({"cluster_cidr": "10.60.0.1/16"}, "host bits set"),
        ({"cluster_cidr": "10.60.0.0/25"}, "too small"),
        ({"service_cluster_ip_range": "10.60.0.0/29"}, "too small"),
        ({"flags": ("scheduler=1",)}, "COMPONENT:NAME=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, asked: dict[str, Any], text: str) -> None:
    with pytest.raises(click.BadParameter, match=text):
        wanted_record(tmp_path, {"nodes": 0, **asked})


def test_a_clusters_addresses_cannot_change(tmp_path: Path) -> None:
    wanted_record(tmp_path, {"nodes": 0}).save()
    assert wanted_record(tmp_path, {"cluster_cidr": "10.244.0.0/16"}).nodes == 0
    with pytest.raises(click.UsageError, match=r"has --cluster-cidr 10\.244\.0\.0/16"):
        wanted_record(tmp_path, {"cluster_cidr": "10.60.0.0/16"})
