"""What a resource claim's status says: allocated or not, for whom."""

from typing import Any

Obj = dict[str, Any]


def is_allocated(claim: Obj) -> bool:
    return "allocation" in (claim.get("status") or {})


def is_reserved(claim: Obj, uid: str) -> bool:
    """The pod with this uid is one of the claim's consumers."""
    consumers = (claim.get("status") or {}).get("reservedFor") or ()
    return any(consumer["uid"] == uid for consumer in consumers)


def has_alternatives(claim: Obj) -> bool:
    """Some request may be served in several ways."""
    requests = claim["spec"].get("devices", {}).get("requests") or ()
    return any("firstAvailable" in request for request in requests)
