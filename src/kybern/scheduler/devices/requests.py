"""What a claim asks for, request by request, alternatives included."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]

ALL, EXACT_COUNT = "All", "ExactCount"
# What a claim may list, results and alternatives of one request.
MAX_RESULTS = 32
MAX_ALTERNATIVES = 8


class AllocationError(Exception):
    """A claim cannot be served as it stands: its class, its selector or its pools are at fault."""


class InvalidPools(AllocationError):
    """Nothing was found, and some pools contradict themselves; other nodes may still do."""

    def __init__(self) -> None:
        super().__init__("invalid resource pools were encountered")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, or one alternative of it: then ``parent`` is the request's own name."""

    name: str
    parent: str
    class_name: str
    mode: str
    count: int
    admin: bool
    selectors: tuple[str, ...]
    tolerations: Sequence[Obj]
    capacity: Obj

    @property
    def full_name(self) -> str:
        """As results and configurations name it."""
        return f"{self.parent}/{self.name}" if self.parent else self.name

    def is_named_by(self, names: Sequence[str]) -> bool:
        """Whether a list of requests (empty: all) covers this one."""
        return not names or self.full_name in names or (self.parent or self.name) in names


def alternatives(claim: Obj) -> list[list[Request]]:
    """For each request of the claim the ways to serve it, the preferred first."""
    requests = claim["spec"].get("devices", {}).get("requests") or ()
    return [_ways(claim, request) for request in requests]


def has_alternatives(claim: Obj) -> bool:
    """Some request may be served in several ways."""
    requests = claim["spec"].get("devices", {}).get("requests") or ()
    return any("firstAvailable" in request for request in requests)


def _ways(claim: Obj, request: Obj) -> list[Request]:
    if (exactly := request.get("exactly")) is not None:
        return [_read(request["name"], "", exactly)]
    if offered := request.get("firstAvailable"):
        return [_read(each["name"], request["name"], each) for each in offered]
    meta = claim["metadata"]
    raise AllocationError(
        f"resource claim {meta['namespace']}/{meta['name']}, request {request['name']}: "
        "unknown request type"
    )


def _read(name: str, parent: str, held: Obj) -> Request:
    return Request(
        name=name,
        parent=parent,
        class_name=held.get("deviceClassName", ""),
        mode=held.get("allocationMode") or EXACT_COUNT,
        count=held.get("count") or 1,
        admin=bool(held.get("adminAccess")),
        selectors=expressions(held.get("selectors")),
        tolerations=held.get("tolerations") or (),
        capacity=(held.get("capacity") or {}).get("requests") or {},
    )


def expressions(selectors: Sequence[Obj] | None) -> tuple[str, ...]:
    """The CEL expressions of a list of selectors; all must hold."""
    return tuple(selector["cel"]["expression"] for selector in selectors or ())
