"""Validation of pods, of what an update may change, and of status updates."""

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    required,
)
from kybern.api.validation.addresses import ip
from kybern.api.validation.affinity import tolerations
from kybern.api.validation.containers import image_spaces
from kybern.api.validation.difference import difference
from kybern.api.validation.fields import MAX_INT32, named, qualified_name
from kybern.api.validation.metadata import immutable, object_meta
from kybern.api.validation.names import between, dns_subdomain
from kybern.api.validation.pod_annotations import check_annotations, check_annotations_update
from kybern.api.validation.pod_claim_statuses import claim_statuses
from kybern.api.validation.pod_spec import pod_spec

UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def check_pod(pod: Obj) -> list[FieldError]:
    """Errors of a new pod, beside those of its metadata."""
    spec = pod.get("spec") or {}
    errors = check_annotations(pod) + _spec(spec)
    if spec.get("ephemeralContainers"):
        errors.append(field_forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        errors.append(field_forbidden("spec.nodeName", text))
    return errors


def _spec(spec: Obj) -> list[FieldError]:
    errors = pod_spec(spec, "spec", is_pod=True)
    if not spec.get("serviceAccountName"):
        for i, volume in enumerate(spec.get("volumes") or ()):
            for j, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if source.get("serviceAccountToken") is not None:
                    at = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                    text = "must not be specified when serviceAccountName is not set"
                    errors.append(field_forbidden(at, text))
    errors += image_spaces(spec.get("containers") or [], "spec.containers")
    return errors + image_spaces(spec.get("initContainers") or [], "spec.initContainers")


def check_pod_update(new: Obj, old: Obj) -> list[FieldError]:
    """Errors of a change: images, deadlines, more tolerations and fewer gates are allowed."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors = object_meta(new["metadata"], True, dns_subdomain)
    errors += check_annotations_update(new, old) + _spec(after)
    for group in ("containers", "initContainers"):
        found, stop = _images(after.get(group) or [], before.get(group) or [], f"spec.{group}")
        errors += found
        if stop:
            return errors
    errors += _deadline(after, before)
    errors += _only_added_tolerations(after, before)
    errors += _only_removed_gates(after, before)
    if after == before:
        return errors
    munged = _with_allowed_changes_undone(after, before)
    if before.get("schedulingGates"):
        errors += _narrowed_while_gated(munged, before)
    if munged != before:
        text = f"pod updates may not change fields other than {UPDATABLE}\n"
        errors.append(field_forbidden("spec", text + difference(before, munged)))
    return errors


def _images(new: list[Obj], old: list[Obj], path: str) -> tuple[list[FieldError], bool]:
    if len(new) != len(old):
        text = "pod updates may not add or remove containers"
        return [field_forbidden(path, text)], True
    errors = [required(f"{path}[{i}].image") for i, c in enumerate(new) if not c.get("image")]
    return errors + image_spaces(new, path), False


def _deadline(new: Obj, old: Obj) -> list[FieldError]:
    path = "spec.activeDeadlineSeconds"
    after, before = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    errors: list[FieldError] = []
    if after is None:
        if before is not None:
            text = "must not update from a positive integer to nil value"
            errors.append(invalid_value(path, None, text))
        return errors
    if not 0 <= after <= MAX_INT32:
        errors.append(invalid_value(path, after, between(0, MAX_INT32)))
    if before is not None and before < after:
        errors.append(invalid_value(path, after, "must be less than or equal to previous value"))
    return errors


def _only_added_tolerations(new: Obj, old: Obj) -> list[FieldError]:
    held = new.get("tolerations") or []
    kept = [_without_seconds(toleration) for toleration in held]
    for toleration in old.get("tolerations") or ():
        if _without_seconds(toleration) not in kept:
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [field_forbidden("spec.tolerations", text)]
    return tolerations(held, "spec.tolerations")


def _without_seconds(toleration: Obj) -> Obj:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}


def _only_removed_gates(new: Obj, old: Obj) -> list[FieldError]:
    held = {gate.get("name", "") for gate in old.get("schedulingGates") or ()}
    errors: list[FieldError] = []
    for i, gate in enumerate(new.get("schedulingGates") or ()):
        name = gate.get("name", "")
        if name not in held:
            text = f"only deletion is allowed, but found new scheduling gate '{name}'"
            errors.append(field_forbidden(f"spec.schedulingGates[{i}].name", text))
    return errors


def _with_allowed_changes_undone(new: Obj, old: Obj) -> Obj:
    """A copy of the new spec that equals the old one if only allowed fields changed."""
    munged = dict(new)
    for group in ("containers", "initContainers"):
        if new.get(group):
            pairs = zip(new[group], old[group], strict=True)
            munged[group] = [{**after, "image": before.get("image")} for after, before in pairs]
    for name in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _carry(name, munged, old)
    seconds = "terminationGracePeriodSeconds"
    if (old.get(seconds) or 0) < 0 and munged.get(seconds) == 1:
        munged[seconds] = old[seconds]
    return munged


def _carry(name: str, munged: Obj, old: Obj) -> None:
    if name in old:
        munged[name] = old[name]
    else:
        munged.pop(name, None)


def _narrowed_while_gated(munged: Obj, old: Obj) -> list[FieldError]:
    """A gated pod's node selector and node affinity may still be narrowed."""
    errors: list[FieldError] = []
    after, before = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if any(after.get(key) != value for key, value in before.items()):
        text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        errors.append(invalid_value("spec.nodeSelector", after, text))
    _carry("nodeSelector", munged, old)
    held = (old.get("affinity") or {}).get("nodeAffinity")
    rules = dict(munged.get("affinity") or {})
    _carry("nodeAffinity", rules, {} if held is None else {"nodeAffinity": held})
    if rules or "affinity" in old:
        munged["affinity"] = rules
    else:
        munged.pop("affinity", None)
    return errors


_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def check_pod_status(new: Obj, old: Obj) -> list[FieldError]:
    """Errors of a write to ``pods/status``."""
    after, before = new.get("status") or {}, old.get("status") or {}
    spec = old.get("spec") or {}
    errors: list[FieldError] = []
    nominated = after.get("nominatedNodeName", "")
    if nominated and nominated != before.get("nominatedNodeName"):
        at = "status.nominatedNodeName"
        errors += named(dns_subdomain(nominated), nominated, at)
        if spec.get("nodeName"):
            text = "may not be set on pods that are already bound to a node"
            errors.append(field_forbidden(at, text))
    errors += immutable(after.get("qosClass", ""), before.get("qosClass", ""), "status.qosClass")
    for name in _STATUSES:
        errors += _no_resurrection(after.get(name), before.get(name), spec, name)
    errors += claim_statuses(after, spec)
    for i, address in enumerate(after.get("podIPs") or ()):
        errors += ip(address.get("ip", ""), f"status.podIPs[{i}]")
    for i, address in enumerate(after.get("hostIPs") or ()):
        errors += ip(address.get("ip", ""), f"status.hostIPs[{i}]")
        if i == 0 and address.get("ip") != after.get("hostIP"):
            text = "must be equal to `hostIP`"
            errors.append(invalid_value("status.hostIPs[0].ip", address.get("ip", ""), text))
    errors += _conditions(after.get("conditions") or [], "status.conditions")
    return errors


def _conditions(held: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, condition in enumerate(held):
        kind, generation = condition.get("type", ""), condition.get("observedGeneration", 0)
        if generation < 0:
            text = "must be a non-negative integer"
            errors.append(invalid_value(f"{path}[{i}].observedGeneration", generation, text))
        if kind not in _SYSTEM_CONDITIONS:
            errors += qualified_name(kind, f"{path}[{i}].Type")
    return errors


def _no_resurrection(
    new: list[Obj] | None, old: list[Obj] | None, spec: Obj, name: str
) -> list[FieldError]:
    """A container that ended for good may not be reported as anything else."""
    ephemeral = name == "ephemeralContainerStatuses"
    policy = spec.get("restartPolicy")
    if policy == "Always" and not ephemeral:
        return []
    group = "initContainers" if name == "initContainerStatuses" else "containers"
    own = {c.get("name"): c for c in spec.get(group) or ()}
    errors: list[FieldError] = []
    for i, before in enumerate(old or ()):
        ended = (before.get("state") or {}).get("terminated")
        if ended is None:
            continue
        restarts = own.get(before.get("name"), {})
        if not ephemeral:
            if restarts.get("restartPolicyRules") or restarts.get("restartPolicy") == "Always":
                continue
            if ended.get("exitCode", 0) and "OnFailure" in (policy, restarts.get("restartPolicy")):
                continue
        for after in new or ():
            alive = (after.get("state") or {}).get("terminated") is None
            if after.get("name") == before.get("name") and alive:
                text = "may not be transitioned to non-terminated state"
                errors.append(field_forbidden(f"status.{name}[{i}].state", text))
    return errors
