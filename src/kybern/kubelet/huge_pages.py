"""Huge pages of pods: what their containers may use, and of which size a volume's pages are. Pure.

Resources are called ``hugepages-2Mi`` and so on. Pages that a machine has are its administrator's
choice (``nr_hugepages``); what no container asks for by a limit it may not use.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from kybern.api.errors import Obj
from kybern.api.quantity import BINARY_SI, Quantity
from kybern.kubelet.cri.client import cri
from kybern.kubelet.pods import spec

PREFIX = "hugepages-"
MEDIUM = "HugePages"
_UNITS = ("B", "KB", "MB", "GB", "TB")


def resource_name(page_bytes: int) -> str:
    """The resource of pages that have so many bytes."""
    return f"{PREFIX}{binary(page_bytes)}"


def binary(number: int) -> str:
    """Bytes as a quantity with a binary suffix."""
    return str(Quantity(number * 10**9, BINARY_SI))


def limits(pod: Obj, container: Obj, sizes: Sequence[int]) -> list[Any]:
    """What a container may use of pages of each of these bytes, as CRI has it.

    Where it has no limit of its own, the pod's binds it.
    """
    allowed: dict[int, int] = {}
    for declared in (pod["spec"].get("resources"), container.get("resources")):
        allowed.update(_pages((declared or {}).get("limits") or {}))
    return [cri.HugepageLimit(page_size=_unit(s), limit=allowed.get(s, 0)) for s in sizes]


def page_size(pod: Obj, medium: str) -> int:
    """The bytes of a page of a volume of this medium; ValueError where the pod does not tell."""
    requested = set(_requested_sizes(pod))
    if medium != MEDIUM:
        requested &= {Quantity.parse(medium.removeprefix(f"{MEDIUM}-")).value()}
    if len(requested) > 1:
        raise ValueError(
            f"medium: {medium} can't be used if container requests multiple huge page sizes"
        )
    if not requested:
        raise ValueError(
            f"medium {medium}: hugePages storage requested, but there is no resource request for "
            "huge pages"
        )
    return requested.pop()


def _requested_sizes(pod: Obj) -> Iterator[int]:
    declared = [pod["spec"].get("resources")]
    declared += [c.get("resources") for c in (*spec.containers(pod), *spec.init_containers(pod))]
    for resources in declared:
        yield from _pages((resources or {}).get("requests") or {})


def _pages(amounts: Obj) -> dict[int, int]:
    """Bytes by bytes of a page, of the huge pages among a list of resources."""
    return {
        Quantity.parse(name.removeprefix(PREFIX)).value(): Quantity.parse(amount).value()
        for name, amount in amounts.items()
        if name.startswith(PREFIX)
    }


def _unit(number: int) -> str:
    """Bytes as the kernel's cgroups name page sizes: 2MB, 1GB, 64KB."""
    power = min((number.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{number >> (10 * power)}{_UNITS[power]}"
