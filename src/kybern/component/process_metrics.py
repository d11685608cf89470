"""What a process says about itself in ``/metrics``: its build, processor time and memory."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from kybern.component.metric_families import Family
from kybern.component.version import version_info

_BUILD = (
    "build_date",
    "compiler",
    "git_commit",
    "git_tree_state",
    "git_version",
    "go_version",
    "major",
    "minor",
    "platform",
)


def process_lines() -> Iterator[str]:
    """``kubernetes_build_info`` and the ``process_`` family."""
    build = Family("kubernetes_build_info", "gauge", "What this program is.", *_BUILD)
    version = version_info()
    build.values[tuple(version[_camel(name)] for name in _BUILD)] = 1
    yield from build.lines()
    used = resource.getrusage(resource.RUSAGE_SELF)
    values = {
        ("process_cpu_seconds_total", "counter"): used.ru_utime + used.ru_stime,
        ("process_max_fds", "gauge"): resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        **_from_proc(),
    }
    for (name, kind), value in values.items():
        family = Family(name, kind, "Of the process.")
        family.values[()] = value
        yield from family.lines()


def _from_proc() -> dict[tuple[str, str], float]:
    """What only Linux tells."""
    own = Path("/proc/self")
    if not own.exists():
        return {}
    # Fields behind the command's name, which may hold anything; the first of them is the third.
    fields = (own / "stat").read_text().rpartition(")")[2].split()
    boot = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime ")
    )
    return {
        ("process_open_fds", "gauge"): len(os.listdir(own / "fd")),
        ("process_resident_memory_bytes", "gauge"): int(fields[21]) * resource.getpagesize(),
        ("process_start_time_seconds", "gauge"): boot + int(fields[19]) / os.sysconf("SC_CLK_TCK"),
        ("process_virtual_memory_bytes", "gauge"): int(fields[20]),
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))
