"""The tree of cgroups, written to a directory that stands for the kernel's, and what is read back.

Real kernels are asked in tests/cluster, on version 1 or 2; bin/guest has version 2.
"""

from pathlib import Path

import pytest
from kubelet_pods import Obj, container, pod

from kybern.kubelet import pressure
from kybern.kubelet.bounds import Limits
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.cri.container_config import resources


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    for controller in ("cpu", "memory", "pids"):
        (tmp_path / controller).mkdir()
    return tmp_path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    return tmp_path


def burstable(uid: str = "1") -> Obj:
    made = pod(container(resources={"requests": {"cpu": "1"}}))
    made["metadata"]["uid"] = uid
    return made


async def test_classes_weigh_what_their_pods_asked_for(version_1: Path) -> None:
    await Cgroups("", version_1).weigh(1500)
    shares = {
        name: (version_1 / "cpu/kubepods" / name / "cpu.shares").read_text()
        for name in ("burstable", "besteffort")
    }
    assert shares == {"burstable": "1536", "besteffort": "2"}


async def test_classes_weigh_on_the_scale_of_version_2(version_2: Path) -> None:
    cgroups = Cgroups("/node", version_2)
    await cgroups.weigh(1500)
    await cgroups.weigh(500)
    root = version_2 / "node/kubepods"
    assert (root / "burstable/cpu.weight").read_text() == "20"
    assert (root / "besteffort/cpu.weight").read_text() == "1"
    assert (root / "burstable/memory.max").read_text() == "max"


@pytest.mark.parametrize(("most", "held"), [(-1, None), (64, "64")])
async def test_a_pod_may_have_so_many_processes(
    version_2: Path, most: int, held: str | None
) -> None:
    await Cgroups("", version_2, max_pids=most).create(burstable())
    file = version_2 / "kubepods/burstable/pod1/pids.max"
    assert (file.read_text() if file.exists() else None) == held


def test_containers_end_as_a_whole_and_do_not_swap_on_version_2(version_2: Path) -> None:
    assert Cgroups("", version_2).of_containers() == {"memory.oom.group": "1"}
    (version_2 / "kubepods").mkdir()
    (version_2 / "kubepods/memory.swap.max").write_text("max")
    both = {"memory.oom.group": "1", "memory.swap.max": "0"}
    assert Cgroups("", version_2).of_containers() == both
    assert Cgroups("", version_2, single_oom_kill=True).of_containers() == {"memory.swap.max": "0"}
    told = resources(burstable(), container(), Limits(2, None, None), 2**30, both)
    assert dict(told.unified) == both


def test_version_1_has_no_such_files(version_1: Path) -> None:
    assert Cgroups("", version_1).of_containers() == {}


def test_pressure_is_read_for_a_pod_and_its_containers(version_2: Path) -> None:
    inside = version_2 / "kubepods/burstable/pod1/c1"
    inside.mkdir(parents=True)
    text = (
        "some avg10=1.50 avg60=0.20 avg300=0.00 total=42\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    (inside / "io.pressure").write_text(text)
    assert Cgroups("", version_2).pressure(burstable()) == {
        "c1": {
            "io": {
                "some": {"avg10": 1.5, "avg60": 0.2, "avg300": 0.0, "total": 42},
                "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 7},
            }
        }
    }


def test_pressure_that_nobody_watches_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text("")
    assert pressure.of_machine(tmp_path) == {"cpu": pressure.parse("")}
    assert pressure.of_machine(tmp_path / "none") == {}
