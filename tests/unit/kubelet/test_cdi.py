"""Devices by CDI name, for runtimes that do not know the names."""

from pathlib import Path

import pytest

from kybern.kubelet.devices.access import DeviceError
from kybern.kubelet.devices.cdi import knows_names, resolve

SPEC = """
cdiVersion: 0.6.0
kind: vendor.com/gpu
containerEdits:
  env: ["ALL=yes"]
devices:
- name: "0"
  containerEdits:
    env: ["GPU=0"]
    deviceNodes: [{path: /dev/gpu0}]
    mounts: [{hostPath: /lib/gpu, containerPath: /opt/gpu, options: [ro, rbind]}]
- name: hooked
  containerEdits:
    hooks: [{hookName: createContainer, path: /bin/hook}]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "vendor.yaml").write_text(SPEC)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "notes.txt").write_text("kind: vendor.com/gpu")
    return tmp_path


def test_a_name_stands_for_variables_devices_and_mounts(directory: Path) -> None:
    access = resolve(["vendor.com/gpu=0"], [directory])
    assert access.environment == {"ALL": "yes", "GPU": "0"}
    (device,) = access.devices
    assert (device.host_path, device.container_path) == ("/dev/gpu0", "/dev/gpu0")
    assert device.permissions == "rwm"
    (mount,) = access.mounts
    assert mount.host_path == "/lib/gpu" and mount.container_path == "/opt/gpu" and mount.readonly


def test_later_directories_win(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    later = tmp_path_factory.mktemp("later")
    text = SPEC.replace("GPU=0", "GPU=later")
    (later / "vendor.yaml").write_text(text)
    assert resolve(["vendor.com/gpu=0"], [directory, later]).environment["GPU"] == "later"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vendor.com/gpu=7", "unresolvable CDI devices vendor.com/gpu=7"),
        ("other.com/gpu=0", "unresolvable CDI devices other.com/gpu=0"),
        ("vendor.com/gpu=hooked", "needs hooks"),
    ],
)
def test_what_cannot_be_had_is_refused(directory: Path, name: str, text: str) -> None:
    with pytest.raises(DeviceError, match=text):
        resolve([name], [directory])


@pytest.mark.parametrize(
    ("runtime", "version", "knows"),
    [
        ("containerd", "1.6.20~ds1", False),
        ("containerd", "v1.7.27", False),
        ("containerd", "v2.0.1", True),
        ("cri-o", "1.33.0", True),
    ],
)
def test_which_runtimes_take_names(runtime: str, version: str, knows: bool) -> None:
    assert knows_names(runtime, version) is knows
