"""How long processes waited for CPU, memory and disks: the kernel's pressure stall information.

The kernel keeps it for the machine, and on cgroup version 2 for every cgroup. :mod:`server.stats`
shows it in the Summary document, with the kernel's own numbers: percentages over 10, 60 and 300
seconds, and the sum of all waiting in microseconds.
"""

from pathlib import Path

from kybern.api.errors import Obj

RESOURCES = ("cpu", "memory", "io")
OF_MACHINE = Path("/proc/pressure")
# What the kernel says of a resource that nobody can fully wait for.
_NONE = {"total": 0, "avg10": 0.0, "avg60": 0.0, "avg300": 0.0}


def of_machine(directory: Path = OF_MACHINE) -> dict[str, Obj]:
    """The machine's pressure by resource; empty where the kernel does not watch it. Blocks."""
    return _read({resource: directory / resource for resource in RESOURCES})


def of_cgroup(directory: Path) -> dict[str, Obj]:
    """A cgroup's pressure by resource; empty where the kernel does not watch it. Blocks."""
    return _read({resource: directory / f"{resource}.pressure" for resource in RESOURCES})


def _read(files: dict[str, Path]) -> dict[str, Obj]:
    found = {}
    for resource, file in files.items():
        try:
            found[resource] = parse(file.read_text())
        except (OSError, ValueError):
            continue
    return found


def parse(text: str) -> Obj:
    """One file: how long some processes waited, and how long all of them did; or ValueError."""
    stalled: Obj = {"full": dict(_NONE), "some": dict(_NONE)}
    for line in text.splitlines():
        kind, *pairs = line.split()
        for name, _, number in (pair.partition("=") for pair in pairs):
            stalled[kind][name] = int(number) if name == "total" else float(number)
    return stalled
