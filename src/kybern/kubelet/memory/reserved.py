"""What is kept from pods on which NUMA node: ``reservedMemory``, checked as upstream does.

The nodes' shares have to add up to what is reserved of the machine (``kubeReserved``,
``systemReserved`` and the hard eviction threshold of memory), or pods would be promised memory that
the node does not offer, or kept from memory that it does.
"""

import re
from collections.abc import Iterable, Mapping

from kybern.api.quantity import BINARY_SI, Quantity
from kybern.component.flags import BadFlag
from kybern.kubelet import huge_pages
from kybern.kubelet.config import Config
from kybern.kubelet.eviction.thresholds import MEMORY as MEMORY_SIGNAL
from kybern.kubelet.memory.tables import MEMORY, Amounts
from kybern.kubelet.topology.numa import Nodes

Reservations = dict[int, dict[str, Quantity]]

_ZERO = Quantity.parse("0")


def parse_reservations(entries: Iterable[str]) -> Reservations:
    """The reservations by node; raises BadFlag.

    An entry is like ``0:memory=1Gi``; what names no node belongs to the one that was named last.
    """
    found: Reservations = {}
    number: int | None = None
    for entry in (part for each in entries for part in re.split("[;,]", each)):
        named, colon, limit = entry.rpartition(":")
        if colon and ":" not in named:
            number = _number(named)
        if number is None or ":" in named:
            raise BadFlag(
                "the reserved memory has incorrect format, expected "
                f"numaNodeID:type=quantity[,type=quantity...], got {entry}"
            )
        _add(found.setdefault(number, {}), number, limit)
    return found


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise BadFlag(f"failed to convert the NUMA node ID, expected integer, got {text}")
    return int(text)


def _add(limits: dict[str, Quantity], number: int, limit: str) -> None:
    resource, sign, text = limit.partition("=")
    if not sign or "=" in text:
        raise BadFlag(
            f"the reserved limit has incorrect value, expected type=quantity, got {limit}"
        )
    if resource != MEMORY and not resource.startswith(huge_pages.PREFIX):
        raise BadFlag(f'memory type conversion error, unknown type: "{resource}"')
    try:
        quantity = Quantity.parse(text)
    except ValueError:
        raise BadFlag(f"failed to parse the quantity: {text}") from None
    what = f'for NUMA node {number} and resource "{resource}"'
    if not quantity:
        raise BadFlag(f"invalid configuration: reserved memory may not be zero {what}")
    if resource in limits:
        raise BadFlag(f"invalid configuration: the reserved memory has a duplicate value {what}")
    limits[resource] = quantity


def kept_in_all(config: Config, capacity: int) -> dict[str, Quantity]:
    """What is reserved of all nodes together, on a machine with so many bytes of memory."""
    found: dict[str, Quantity] = {}
    for entry in (*config.system_reserved, *config.kube_reserved):
        resource, _, text = entry.partition("=")
        _count(found, resource, Quantity.parse(text))
    for threshold in config.thresholds():
        if threshold.signal == MEMORY_SIGNAL and threshold.hard:
            size = threshold.value.of(capacity)
            _count(found, MEMORY, Quantity(size * 10**9, BINARY_SI))
    return found


def _count(total: dict[str, Quantity], resource: str, quantity: Quantity) -> None:
    if resource == MEMORY or resource.startswith(huge_pages.PREFIX):
        total[resource] = total.get(resource, _ZERO) + quantity


def add_up(
    reservations: Reservations, nodes: Nodes, kept: Mapping[str, Quantity]
) -> dict[int, Amounts]:
    """The reservations in bytes, if they add up to what is kept in all; raises BadFlag."""
    total: dict[str, Quantity] = {}
    for number, limits in reservations.items():
        if number not in nodes:
            raise BadFlag(
                "the reserved memory configuration references a NUMA node "
                f"{number} that does not exist on this machine"
            )
        for resource, limit in limits.items():
            _count(total, resource, limit)
    for resource in sorted({*total, *kept}):
        mine, theirs = total.get(resource, _ZERO), kept.get(resource, _ZERO)
        if mine != theirs:
            raise BadFlag(
                f'the total amount "{mine}" of type "{resource}" is not equal to the value '
                f'"{theirs}" determined by Node Allocatable feature'
            )
    return {
        number: {resource: limit.value() for resource, limit in limits.items()}
        for number, limits in reservations.items()
    }
