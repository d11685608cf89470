"""What ``kybern up`` hands on to the processes of the control plane."""

from pathlib import Path

from kybern.cluster.cli import _wanted_record
from kybern.cluster.record import Record, processes


def arguments(record: Record, group: str) -> list[str]:
    return dict(processes(record))[group]


def test_etcd_is_the_api_servers_and_makes_controllers_elect_a_leader(tmp_path: Path) -> None:
    asked = {"etcd_servers": "https://a:2379,https://b:2379", "etcd_prefix": "/x", "nodes": 0}
    record = _wanted_record(tmp_path, {**asked, "flags": ("scheduler:v=4",), "etcd_cafile": None})
    assert arguments(record, "apiserver")[-2:] == [
        "--etcd-prefix=/x",
        "--etcd-servers=https://a:2379,https://b:2379",
    ]
    control = arguments(record, "control")
    assert "--leader-elect=true" in control
    assert control[-1] == "--v=4"
    record.save()
    assert _wanted_record(tmp_path, {"nodes": 0}).flags == record.flags


def test_a_control_plane_with_a_file_has_no_peers(tmp_path: Path) -> None:
    record = _wanted_record(tmp_path, {"nodes": 0})
    assert "--leader-elect=false" in arguments(record, "control")
