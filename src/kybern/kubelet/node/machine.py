"""What the machine is: cores, memory, disk, kernel, addresses. Reads /proc, /sys and /etc."""

import os
import platform
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that do not change while the machine is up; huge pages are counted by their bytes."""

    cores: int
    memory_bytes: int
    huge_pages: Mapping[int, int]
    swap_bytes: int
    disk_bytes: int
    inodes: int
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str


def read_machine(root_dir: Path) -> Machine:
    """Look at this machine; ``root_dir`` says which disk is meant. Blocks for a moment."""
    memory = memory_info()
    disk = os.statvfs(root_dir)
    return Machine(
        cores=os.cpu_count() or 1,
        memory_bytes=memory.get("MemTotal", 0),
        huge_pages=read_huge_pages(_HUGE_PAGES),
        swap_bytes=memory.get("SwapTotal", 0),
        disk_bytes=shutil.disk_usage(root_dir).total,
        inodes=disk.f_files,
        machine_id=_text("/etc/machine-id"),
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=_os_image(),
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
    )


def read_huge_pages(directory: Path) -> dict[int, int]:
    """How many huge pages the kernel has, by the bytes of one; it lists them in a directory."""
    return {
        int(path.name.removeprefix("hugepages-").removesuffix("kB")) * 1024: int(
            (path / "nr_hugepages").read_text()
        )
        for path in sorted(directory.glob("hugepages-*kB"))
    }


def has_app_armor() -> bool:
    """Whether the kernel confines programs by AppArmor profiles."""
    return _text("/sys/module/apparmor/parameters/enabled") == "Y"


def cpu_nanoseconds() -> int:
    """The time that the machine's cores have worked since it started, steal and idling left out."""
    user, nice, system, _, _, interrupts, soft = map(int, _text("/proc/stat").split()[1:8])
    ticks = user + nice + system + interrupts + soft
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def interfaces(file: Path) -> list[dict[str, object]]:
    """Bytes and errors of every network interface, from a ``net/dev`` file of the kernel."""
    found: list[dict[str, object]] = []
    for line in file.read_text().splitlines()[2:]:
        name, _, counters = line.partition(":")
        numbers = [int(number) for number in counters.split()]
        found.append(
            {
                "name": name.strip(),
                "rxBytes": numbers[0],
                "rxErrors": numbers[2],
                "txBytes": numbers[8],
                "txErrors": numbers[10],
            }
        )
    return found


def memory_info() -> dict[str, int]:
    """What the kernel says of the machine's memory, in bytes."""
    found = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words:
            found[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def default_address() -> str:
    """The address that this machine would reach others from; loopback if it reaches nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a datagram socket only asks the routing table.
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
