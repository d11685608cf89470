"""The one assertion behind every test with real nodes: nothing of it is left on the machine.

Whatever a lab makes carries its mark: a directory or a name that nobody else has. ``traces`` looks
for the mark where things of a node can stay: command lines, cgroups, mounts of every mount
namespace, network namespaces, loop devices, and what is in the caller's own network namespace.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from kybern.cluster.nodes import cgroup

# The kernel's own, and the way out of the machine.
_FOREIGN_ROUTE = re.compile("^default | proto kernel ")


def assert_nothing_left(*marks: str, besides: Collection[str] = ()) -> None:
    """Call it where the test's own links are; ``besides`` are links and mount points of its own."""
    assert (found := traces(*marks, besides=besides)) == {}, f"{marks} left {found}"


def traces(*marks: str, besides: Collection[str] = ()) -> dict[str, list[str]]:
    """All that is left, by kind."""
    found = {
        "processes": _processes(marks),
        "cgroups": [
            str(path)
            for root in cgroup.hierarchies()
            for mark in marks
            for path in root.glob(f"*{Path(mark).name}*")
        ],
        "mounts": [
            line for line in _mounts() if _is_marked(line, marks) and line.split()[4] not in besides
        ],
        "namespaces": _marked(_output("ip", "netns"), marks),
        "loops": _marked(_output("losetup", "--list", "--noheadings"), marks),
        "links": [link for link in _links() if link not in ("lo", *besides)],
        "routes": [route for route in _output("ip", "route") if not _FOREIGN_ROUTE.search(route)],
        "tables": [t for t in _output("nft", "list", "tables") if "kybern" in t],
    }
    return {kind: items for kind, items in found.items() if items}


def end_processes(*marks: str) -> None:
    """After a failure: nothing of it is to run on."""
    for line in _processes(marks):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)


def _is_marked(text: str, marks: Collection[str]) -> bool:
    return any(mark in text for mark in marks)


def _marked(lines: Collection[str], marks: Collection[str]) -> list[str]:
    return [line for line in lines if _is_marked(line, marks)]


def _output(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _links() -> list[str]:
    """The links of the caller's network namespace."""
    return [line.split(": ")[1].partition("@")[0] for line in _output("ip", "-o", "link")]


def _processes(marks: Collection[str]) -> list[str]:
    """Processes whose command line or cgroup is marked, but for the test's own family.

    One that has ended and waits to be reaped holds nothing, and has no command line.
    """
    family = set(_ancestors(os.getpid()))
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = (entry / "cgroup").read_text() if line else ""
        except OSError:
            continue
        if int(entry.name) not in family and _is_marked(line + where, marks):
            found.append(f"{entry.name} {line}")
    return found


def _ancestors(process: int) -> Iterator[int]:
    while process > 1:
        yield process
        stat = Path(f"/proc/{process}/stat").read_text()
        process = int(stat.rpartition(")")[2].split()[1])


def _mounts() -> list[str]:
    """The mounts of all mount namespaces that a process lives in."""
    seen: set[str] = set()
    lines: dict[str, None] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            namespace = os.readlink(entry / "ns/mnt")
            if namespace in seen:
                continue
            mounts = (entry / "mountinfo").read_text()
        except OSError:
            continue
        seen.add(namespace)
        lines.update(dict.fromkeys(mounts.splitlines()))
    return list(lines)
