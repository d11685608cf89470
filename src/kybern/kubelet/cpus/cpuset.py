"""Sets of CPUs in the kernel's notation, as in ``0-3,8``. Pure."""

import re
from collections.abc import Iterable
from itertools import pairwise

Cpus = frozenset[int]
NO_CPUS: Cpus = frozenset()

_INTEGER = re.compile(r"[+-]?[0-9]+")


def parse(text: str) -> Cpus:
    """The set that the text names; raises ValueError with upstream's words."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        start = _number(first)
        end = _number(last) if dash else start
        if start > end:
            raise ValueError(f'invalid range "{part}" ({start} > {end})')
        found.update(range(start, end + 1))
    return frozenset(found)


def _number(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def shown(cpus: Iterable[int]) -> str:
    """The shortest text for the set; empty for the empty one."""
    ordered = sorted(cpus)
    if not ordered:
        return ""
    breaks = [at for at, (one, other) in enumerate(pairwise(ordered), 1) if other != one + 1]
    runs = [ordered[begin:end] for begin, end in pairwise([0, *breaks, len(ordered)])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
