"""Mirrors of registries: from ``kybern up``'s flags to the files that containerd reads."""

import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kybern.cluster.cli import main
from kybern.cluster.nodes import Node, NodeSpec, registries
from kybern.cluster.nodes.containerd import configuration
from kybern.cluster.wanted import wanted_record

HUB = "docker.io=https://mirror.example/hub"
SECOND = "docker.io=http://10.0.0.5:5000"
EVERY = "*=http://10.0.0.6:5000"


def read(directory: Path) -> dict[str, list[str]]:
    """The mirrors of each registry, in the order in which they are asked."""
    found = {}
    for file in directory.glob("*/hosts.toml"):
        hosts = tomllib.loads(file.read_text())["host"]
        assert all(host["capabilities"] == ["pull", "resolve"] for host in hosts.values())
        found[file.parent.name] = list(hosts)
    return found


def test_mirrors_are_asked_in_the_order_given(tmp_path: Path) -> None:
    registries.write(tmp_path, [HUB, EVERY, SECOND, "localhost:5001=http://10.0.0.7"])
    assert read(tmp_path) == {
        "docker.io": ["https://mirror.example/hub", "http://10.0.0.5:5000"],
        "_default": ["http://10.0.0.6:5000"],
        "localhost:5001": ["http://10.0.0.7"],
    }


def test_a_mirror_that_is_no_longer_wanted_is_forgotten(tmp_path: Path) -> None:
    registries.write(tmp_path, [HUB])
    registries.write(tmp_path, [EVERY])
    assert list(read(tmp_path)) == ["_default"]


def config_path(**fields: str) -> list[str]:
    made = Node(NodeSpec("n0", Path("/d"), True, "10.223.1.11", Path("/k"), **fields))  # type: ignore[arg-type]
    text = configuration(made, {"crun": "/usr/bin/crun"}, Path("/usr/lib/cni"), "overlayfs")
    cri = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    return str(cri["registry"]["config_path"]).split(":")


def test_the_users_own_directory_comes_after_the_mirrors() -> None:
    assert config_path() == ["/d/nodes/n0/containerd/certs.d"]
    both = config_path(registry_config="/etc/containerd/certs.d")
    assert both == ["/d/nodes/n0/containerd/certs.d", "/etc/containerd/certs.d"]


@pytest.mark.parametrize(
    "text",
    [
        "docker.io",
        "=http://a",
        "a/b=http://a",
        "../a=http://a",
        "a=ftp://a",
        "a=http://",
        'a=http://"',
    ],
)
def test_what_is_no_mirror_is_refused(text: str, tmp_path: Path) -> None:
    given = ["up", "--data-dir", str(tmp_path), "--registry-mirror", text]
    ended = CliRunner().invoke(main, given)
    assert ended.exit_code == 2
    assert "--registry-mirror" in ended.output and not list(tmp_path.iterdir())


def test_several_nodes_cannot_use_a_mirror_on_loopback(tmp_path: Path) -> None:
    local = {"registry_mirrors": ("*=http://localhost:5000",)}
    with pytest.raises(click.UsageError, match="loopback of their own"):
        wanted_record(tmp_path, {"nodes": 2, **local})


def test_mirrors_are_remembered_until_others_are_given(tmp_path: Path) -> None:
    wanted_record(tmp_path, {"nodes": 0, "registry_mirrors": (HUB,)}).save()
    again = wanted_record(tmp_path, {"registry_mirrors": None, "registry_config": None})
    assert again.registry_mirrors == (HUB,)
    assert wanted_record(tmp_path, {"registry_mirrors": (EVERY,)}).registry_mirrors == (EVERY,)
