"""What cgroups are called with the driver systemd, and what systemd is asked for.

A few words of systemd are spoken by a stand-in on a message bus of the test's own; the real one is
asked in tests/cluster.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kubelet_pods import Obj, container, pod
from private_bus import NO_LIBRARY, private_bus

from kybern.component.flags import BadFlag
from kybern.kubelet.bounds import Bounds, Limits, pod_bounds
from kybern.kubelet.cgroups.names import CGROUPFS, SYSTEMD, Names
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.rpc.client import RpcError

UID = "0f1e-22"
SLICE = "kubepods-burstable-pod0f1e_22.slice"
UNLIMITED = 2**64 - 1


@pytest.mark.parametrize(
    ("root", "driver", "path"),
    [
        ("", CGROUPFS, "/kubepods/burstable/pod0f1e-22"),
        ("/a/b-c/", CGROUPFS, "/a/b-c/kubepods/burstable/pod0f1e-22"),
        ("/", SYSTEMD, f"/kubepods.slice/kubepods-burstable.slice/{SLICE}"),
        (
            "/a/b-c",
            SYSTEMD,
            "/a.slice/a-b_c.slice/a-b_c-kubepods.slice/a-b_c-kubepods-burstable.slice"
            "/a-b_c-kubepods-burstable-pod0f1e_22.slice",
        ),
    ],
)
def test_a_pod_is_found_again_by_the_name_of_its_cgroup(root: str, driver: str, path: str) -> None:
    names = Names(root, driver)
    assert names.pod("Burstable", UID) == path
    above, _, directory = path.rpartition("/")
    assert names.qos("Burstable") == above
    assert names.all_pods == names.qos("Guaranteed") == above.rpartition("/")[0]
    assert names.uid(directory) == UID
    for other in (names.all_pods, above):
        assert names.uid(other.rpartition("/")[2]) is None


def test_containers_are_known_by_their_ids() -> None:
    assert Names("", CGROUPFS).container("1f2e") == "1f2e"
    assert Names("", SYSTEMD).container("cri-containerd-1f2e.scope") == "1f2e"
    assert Names("", SYSTEMD).container("crio-1f2e.scope") == "1f2e"


def test_a_quota_is_held_that_systemd_has_rounded() -> None:
    rounded = Bounds(unified=True, weight=1, quota=13_000, memory=None, whole_percents=True)
    assert rounded.hold_quota(12_500)
    assert not rounded.hold_quota(14_000)
    assert not rounded.hold_quota(None)
    exact = Bounds(unified=True, weight=1, quota=13_000, memory=None)
    assert not exact.hold_quota(12_500)


class Systemd:
    """The units that were asked for, and what became of them."""

    def __init__(self, dbus_fast: Any, bus: Any) -> None:
        self._dbus_fast = dbus_fast
        self._bus = bus
        self._jobs = 0
        self.units: dict[str, Obj] = {}
        self.said: list[str] = []
        self.result = "done"

    def answer(self, message: Any) -> Any:
        if message.interface != "org.freedesktop.systemd1.Manager":
            return None
        self.said.append(message.member)
        unit = message.body[0] if message.body else ""
        if message.member == "StartTransientUnit":
            if unit in self.units:
                return self._refuse(message, "UnitExists", f"Unit {unit} already exists.")
            self.units[unit] = self._values(message.body[2])
            return self._job(message, unit)
        if message.member in ("SetUnitProperties", "StopUnit") and unit not in self.units:
            return self._refuse(message, "NoSuchUnit", f"Unit {unit} not loaded.")
        if message.member == "SetUnitProperties":
            self.units[unit].update(self._values(message.body[2]))
        if message.member == "StopUnit":
            del self.units[unit]
            return self._job(message, unit)
        return self._dbus_fast.Message.new_method_return(message)

    @staticmethod
    def _values(properties: Any) -> Obj:
        return {name: variant.value for name, variant in properties}

    def _refuse(self, message: Any, name: str, text: str) -> Any:
        error = f"org.freedesktop.systemd1.{name}"
        return self._dbus_fast.Message.new_error(message, error, text)

    def _job(self, message: Any, unit: str) -> Any:
        self._jobs += 1
        job = f"/org/freedesktop/systemd1/job/{self._jobs}"
        told = self._dbus_fast.Message.new_signal(
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "JobRemoved",
            "uoss",
            [self._jobs, job, unit, self.result],
        )
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._bus.send(told)))
        return self._dbus_fast.Message.new_method_return(message, "o", [job])


@pytest_asyncio.fixture
async def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Systemd]:
    dbus_fast = pytest.importorskip("dbus_fast", reason=NO_LIBRARY)
    monkeypatch.setattr("kybern.kubelet.cgroups.systemd.RUNNING", tmp_path)
    async with private_bus(tmp_path, monkeypatch, "org.freedesktop.systemd1") as bus:
        made = Systemd(dbus_fast, bus)
        bus.add_message_handler(made.answer)
        yield made


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    directory = tmp_path / "cgroup"
    directory.mkdir()
    (directory / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    return directory


def limited(cpu: str, memory: str) -> Obj:
    amounts = {"cpu": cpu, "memory": memory}
    made = pod(container(resources={"requests": {"cpu": "100m"}, "limits": amounts}))
    made["metadata"]["uid"] = UID
    return made


async def test_systemd_makes_bounds_and_removes_the_cgroups(systemd: Systemd, mount: Path) -> None:
    cgroups = Cgroups("", mount, driver=SYSTEMD, max_pids=64)
    made = limited("125m", "64Mi")
    await cgroups.weigh(1500)
    await cgroups.create(made)
    asked = systemd.units[SLICE]
    assert asked["Wants"] == ["kubepods-burstable.slice"]
    assert (asked["DefaultDependencies"], asked["MemoryAccounting"]) == (False, True)
    bounds = {"CPUWeight": 4, "CPUQuotaPerSecUSec": 130_000, "MemoryMax": 2**26, "TasksMax": 64}
    assert {name: asked[name] for name in bounds} == bounds
    assert systemd.units["kubepods-burstable.slice"]["CPUWeight"] == 59
    assert systemd.units["kubepods-besteffort.slice"]["MemoryMax"] == UNLIMITED
    directory = mount / "kubepods.slice/kubepods-burstable.slice" / SLICE
    assert (directory / "cpu.max").read_text() == "13000 100000"
    await cgroups.bound(made, pod_bounds(limited("250m", "32Mi")))
    assert (asked["CPUQuotaPerSecUSec"], asked["MemoryMax"]) == (250_000, 2**25)
    assert (directory / "memory.max").read_text() == str(2**25)
    assert cgroups.pods() == {UID}
    # What stands for the kernel's directory does not go with the files in it.
    for file in directory.iterdir():
        file.unlink()
    await cgroups.remove(UID)
    assert SLICE not in systemd.units
    assert systemd.said[-2:] == ["StopUnit", "ResetFailedUnit"]
    assert not cgroups.pods()
    await cgroups.remove(UID)
    assert systemd.said[-1] == "ResetFailedUnit" and systemd.said.count("StopUnit") == 1
    cgroups.close()


async def test_what_is_there_from_an_earlier_kubelet_is_bounded_anew(
    systemd: Systemd, mount: Path
) -> None:
    cgroups = Cgroups("", mount, driver=SYSTEMD)
    for memory in (2**30, 2**29):
        await cgroups.bound_all(Limits(1024, None, memory))
    assert systemd.units["kubepods.slice"]["MemoryMax"] == 2**29
    assert systemd.units["kubepods.slice"]["Wants"] == ["-.slice"]
    cgroups.close()


async def test_a_slice_that_does_not_start_is_an_error(systemd: Systemd, mount: Path) -> None:
    cgroups = Cgroups("", mount, driver=SYSTEMD)
    systemd.result = "failed"
    with pytest.raises(OSError, match=rf"StartTransientUnit of {SLICE}: failed"):
        await cgroups.create(limited("1", "64Mi"))
    cgroups.close()


async def test_the_runtime_says_whose_cgroups_they_are(systemd: Systemd, mount: Path) -> None:
    answers: list[Any] = [RpcError("UNAVAILABLE", "down"), "systemd"]

    async def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    cgroups = Cgroups("", mount, ask=ask)
    with pytest.raises(RpcError):
        await cgroups.create(limited("1", "64Mi"))
    assert not systemd.units
    await cgroups.create(limited("1", "64Mi"))
    assert list(systemd.units) == [SLICE]
    assert cgroups.parent(limited("1", "1")).endswith(f"/{SLICE}")
    await cgroups.weigh(100)
    assert not answers
    cgroups.close()


async def test_a_runtime_that_does_not_tell_leaves_it_to_the_configuration(mount: Path) -> None:
    async def silent() -> str:
        return ""

    cgroups = Cgroups("", mount, ask=silent)
    await cgroups.create(limited("1", "64Mi"))
    assert cgroups.pods() == {UID}
    assert (mount / "kubepods/burstable" / f"pod{UID}").is_dir()


async def test_without_systemd_the_driver_cannot_be_used(
    mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dbus_fast", reason=NO_LIBRARY)
    monkeypatch.setattr("kybern.kubelet.cgroups.systemd.RUNNING", tmp_path / "none")
    with pytest.raises(OSError, match="systemd not running on this host"):
        await Cgroups("", mount, driver=SYSTEMD).settle()
    monkeypatch.setattr("kybern.kubelet.cgroups.systemd.RUNNING", tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    with pytest.raises(OSError, match="no system message bus"):
        await Cgroups("", mount, driver=SYSTEMD).settle()
    with pytest.raises(OSError, match="needs cgroup version 2"):
        await Cgroups("", tmp_path, driver=SYSTEMD).settle()
    with pytest.raises(BadFlag, match="cgroupDriver: 'runc' is none of cgroupfs, systemd"):
        Cgroups("", mount, driver="runc")


async def test_a_message_bus_that_was_restarted_is_found_again(
    mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dbus_fast = pytest.importorskip("dbus_fast", reason=NO_LIBRARY)
    monkeypatch.setattr("kybern.kubelet.cgroups.systemd.RUNNING", tmp_path)
    cgroups = Cgroups("", mount, driver=SYSTEMD)
    for milli_cpu in (100, 200):
        directory = tmp_path / str(milli_cpu)
        directory.mkdir()
        async with private_bus(directory, monkeypatch, "org.freedesktop.systemd1") as bus:
            systemd = Systemd(dbus_fast, bus)
            bus.add_message_handler(systemd.answer)
            await cgroups.weigh(milli_cpu)
            assert "kubepods-burstable.slice" in systemd.units
    cgroups.close()
