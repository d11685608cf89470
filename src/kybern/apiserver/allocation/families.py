"""IP families of a Service: policy, families and addresses agree, or the write is refused."""

import ipaddress

from kybern.api.errors import FieldError, Obj, invalid, invalid_value
from kybern.api.kinds.core.service_validation import check_cluster_ips

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_ADDRESSED = ("ClusterIP", "NodePort", "LoadBalancer")
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
_POLICY = "spec.ipFamilyPolicy"


def normalise_cluster_ips(new: Obj, old: Obj | None) -> None:
    """Make ``clusterIPs`` follow ``clusterIP`` for clients that know the latter only."""
    address, addresses = new.get("clusterIP", ""), new.get("clusterIPs") or []
    if old is None:
        if address and not addresses:
            new["clusterIPs"] = [address]
        return
    before = old.get("clusterIP", "")
    if address == before:
        return
    unchanged = addresses == (old.get("clusterIPs") or [])
    if not address:
        if unchanged:
            new.pop("clusterIPs", None)
    elif not before:
        if not addresses:
            new["clusterIPs"] = [address]
    elif unchanged:
        new["clusterIPs"] = [address]


def keeps_dual_stack(new: Obj, old: Obj | None) -> bool:
    """Whether a PreferDualStack Service stays as it is: then nothing is added to it."""
    return (
        old is not None
        and new.get("type") == old.get("type")
        and new.get("type") in _ADDRESSED
        and new.get("ipFamilyPolicy") == PREFER
        and old.get("ipFamilyPolicy") in (None, PREFER)
        and (new.get("clusterIPs") or []) == (old.get("clusterIPs") or [])
        and (new.get("ipFamilies") or []) == (old.get("ipFamilies") or [])
    )


def fill_families(service: Obj, old_service: Obj | None, available: list[str]) -> None:
    """Default ``ipFamilyPolicy`` and ``ipFamilies``; raises 422 for what does not fit."""
    spec = service["spec"]
    old = old_service["spec"] if old_service is not None else None
    if spec.get("type") == "ExternalName" or keeps_dual_stack(spec, old):
        return
    headless = spec.get("clusterIP") == "None" and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        had = (old or {}).get("ipFamilyPolicy")
        spec["ipFamilyPolicy"] = had or (REQUIRE if headless else SINGLE)
    _refuse(service, check_cluster_ips(spec))
    errors = _reconciled(spec, old) + _family_of_each(spec, available)
    _refuse(service, errors)
    policy = spec["ipFamilyPolicy"]
    families: list[str] = spec.get("ipFamilies") or []
    if not headless:
        if policy == REQUIRE and len(available) < 2:
            why = "this cluster is not configured for dual-stack services"
            errors.append(invalid_value(_POLICY, policy, why))
        errors += [
            invalid_value(f"spec.ipFamilies[{i}]", family, "not configured on this cluster")
            for i, family in enumerate(families)
            if family not in available
        ]
        _refuse(service, errors)
    families = families or available[:1]
    if len(families) == 1 and policy != SINGLE and (headless or len(available) == 2):
        families = [families[0], _OTHER[families[0]]]
    spec["ipFamilies"] = families


def _reconciled(spec: Obj, old: Obj | None) -> list[FieldError]:
    """Drop the second family of a Service that becomes single-stack; refuse contradictions."""
    policy, errors = spec["ipFamilyPolicy"], []
    for name, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        values = spec.get(name) or []
        if old is not None:
            had = old.get(name) or []
            if policy == SINGLE:
                if values == had and len(values) > 1:
                    spec[name] = values = values[:1]
            elif values and len(values) < len(had):
                why = f"must be 'SingleStack' to release the secondary {what}"
                errors.append(invalid_value(_POLICY, policy, why))
        if policy == SINGLE and len(values) == 2:
            plural = "cluster IPs" if name == "clusterIPs" else "IP families"
            why = (
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple "
                f"{plural} are specified"
            )
            errors.append(invalid_value(_POLICY, policy, why))
    return errors


def _family_of_each(spec: Obj, available: list[str]) -> list[FieldError]:
    """Families follow from addresses that were asked for."""
    errors: list[FieldError] = []
    families = list(spec.get("ipFamilies") or [])
    for index, address in enumerate(spec.get("clusterIPs") or []):
        if address == "None":
            break
        if index < len(families) or not address:
            continue
        family = f"IPv{ipaddress.ip_address(address).version}"
        if family in available:
            families.append(family)
        else:
            errors.append(
                invalid_value(
                    f"spec.clusterIPs[{index}]",
                    spec["clusterIPs"],
                    f"{family} is not configured on this cluster",
                )
            )
    if families:
        spec["ipFamilies"] = families
    return errors


def _refuse(service: Obj, errors: list[FieldError]) -> None:
    if errors:
        raise invalid("Service", service["metadata"].get("name", ""), errors)
