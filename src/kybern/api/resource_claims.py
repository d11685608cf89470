"""Resource claims of pods: which objects a pod means, and what a claim's status says. Pure.

Read by the scheduler, who allocates, the controller, who makes and frees claims, and the kubelet,
who has them prepared (KEP 4381).
"""

from typing import Any

Obj = dict[str, Any]

# Keeps a claim from being deleted while devices are allocated to it.
FINALIZER = "resource.kubernetes.io/delete-protection"
# On the claim that the scheduler makes for a pod's extended resources.
EXTENDED_RESOURCE_CLAIM = "resource.kubernetes.io/extended-resource-claim"
# Every device class is an extended resource with this before its name.
CLASS_PREFIX = "deviceclass.resource.kubernetes.io/"
# How many consumers one claim may have at a time.
MAX_CONSUMERS = 256


def resource_claim_names(pod: Obj) -> list[tuple[str, str | None]]:
    """The pod's resource claims: the name in the pod, and the object's name once it is known.

    A claim made from a template is named in the status; an empty name says that none is needed.
    """
    status = pod.get("status") or {}
    made = {
        s["name"]: s.get("resourceClaimName") for s in status.get("resourceClaimStatuses") or ()
    }
    found: list[tuple[str, str | None]] = []
    for claim in pod["spec"].get("resourceClaims") or ():
        name = claim["name"]
        if (given := claim.get("resourceClaimName")) is not None:
            found.append((name, given))
        else:
            found.append((name, (made[name] or "") if name in made else None))
    return found


def extended_claim_name(pod: Obj) -> str:
    """The claim that was made for the pod's extended resources; empty for none."""
    made = (pod.get("status") or {}).get("extendedResourceClaimStatus") or {}
    return str(made.get("resourceClaimName") or "")


def extended_requests(pod: Obj) -> list[Obj]:
    """Which requests of that claim serve what: ``containerName``, ``resourceName``,
    ``requestName``."""
    made = (pod.get("status") or {}).get("extendedResourceClaimStatus") or {}
    mappings: list[Obj] = made.get("requestMappings") or []
    return mappings


def claims_in_use(pod: Obj) -> list[str]:
    """All claims of the pod whose names are known."""
    extended = extended_claim_name(pod)
    names = [name for _, name in resource_claim_names(pod) if name]
    return [*names, extended] if extended else names


def is_allocated(claim: Obj) -> bool:
    return "allocation" in (claim.get("status") or {})


def is_reserved(claim: Obj, uid: str) -> bool:
    """The pod with this uid is one of the claim's consumers."""
    consumers = (claim.get("status") or {}).get("reservedFor") or ()
    return any(consumer["uid"] == uid for consumer in consumers)


def results(claim: Obj) -> list[Obj]:
    """The devices that are allocated to the claim."""
    allocation = (claim.get("status") or {}).get("allocation") or {}
    found: list[Obj] = (allocation.get("devices") or {}).get("results") or []
    return found
