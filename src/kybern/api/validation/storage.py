"""Validation of what the storage API keeps for CSI: drivers, nodes, capacities, attachments."""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from kybern.api.validation.fields import MAX_INT32, not_negative, qualified_name
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import between, dns_subdomain
from kybern.api.validation.persistent_sources import persistent_source
from kybern.api.validation.resources import quantity
from kybern.api.validation.volumes import csi_driver_name

_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE_MODES = ("Persistent", "Ephemeral")
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32
_SHORTEST_PERIOD = 10
_MAX_NODE_ID = 256
_MAX_ATTACHMENT_BYTES = 256 * 1024
_MAX_ERROR_BYTES = 1024
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def check_csi_driver(driver: Obj) -> list[FieldError]:
    spec = driver.get("spec") or {}
    errors: list[FieldError] = []
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _GROUP_POLICIES:
        errors.append(not_supported("spec.fsGroupPolicy", policy, _GROUP_POLICIES))
    errors += _token_requests(spec.get("tokenRequests") or [], "spec.tokenRequests")
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLE_MODES:
            errors.append(not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLE_MODES))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _SHORTEST_PERIOD:
        at = "spec.nodeAllocatableUpdatePeriodSeconds"
        errors.append(invalid_value(at, period, "must be greater than or equal to 10 seconds"))
    in_secrets = spec.get("serviceAccountTokenInSecrets")
    if in_secrets is not None and not spec.get("tokenRequests"):
        text = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        errors.append(invalid_value("spec.serviceAccountTokenInSecrets", in_secrets, text))
    return errors


def _token_requests(requests: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, request in enumerate(requests):
        audience, seconds = request.get("audience", ""), request.get("expirationSeconds")
        if audience in seen:
            errors.append(duplicate(f"{path}[{i}].audience", audience))
            continue
        seen.add(audience)
        at = f"{path}[{i}].expirationSeconds"
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            text = "may not specify a duration less than 10 minutes"
            errors.append(invalid_value(at, seconds, text))
        if seconds is not None and seconds > _LONGEST_TOKEN:
            text = "may not specify a duration larger than 2^32 seconds"
            errors.append(invalid_value(at, seconds, text))
    return errors


def check_csi_driver_update(new: Obj, old: Obj) -> list[FieldError]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors: list[FieldError] = []
    # The first path is not the field's name; it is what upstream answers.
    for name, path in (
        ("attachRequired", "spec.attachedRequired"),
        ("volumeLifecycleModes", "spec.volumeLifecycleModes"),
    ):
        errors += immutable(after.get(name), before.get(name), path)
    return errors


def check_csi_node(node: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, driver in enumerate((node.get("spec") or {}).get("drivers") or ()):
        path, name = f"spec.drivers[{i}]", driver.get("name", "")
        errors += csi_driver_name(name, f"{path}.name")
        errors += _node_id(driver.get("nodeID", ""), f"{path}.nodeID")
        count = (driver.get("allocatable") or {}).get("count")
        errors += not_negative(count, f"{path}.allocatable.count")
        if name in seen:
            errors.append(duplicate(f"{path}.name", name))
        seen.add(name)
        errors += _topology_keys(driver.get("topologyKeys") or [], path)
    return errors


def _node_id(node_id: str, path: str) -> list[FieldError]:
    if not node_id:
        return [required(path)]
    if len(node_id.encode()) > _MAX_NODE_ID:
        return [invalid_value(path, node_id, f"must be {_MAX_NODE_ID} characters or less")]
    return []


def _topology_keys(keys: list[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, key in enumerate(keys):
        if not key:
            errors.append(required(path))
        if key in keys[:i]:
            errors.append(duplicate(path, key))
        errors += qualified_name(key, path)
    return errors


def check_csi_node_update(new: Obj, old: Obj) -> list[FieldError]:
    """Drivers come and go, but one that stays keeps all but its allocatable count."""
    before = {driver.get("name"): driver for driver in _drivers(old)}
    errors: list[FieldError] = []
    for driver in _drivers(new):
        held = before.get(driver.get("name"))
        if held is not None:
            after = {k: v for k, v in driver.items() if k != "allocatable"}
            earlier = {k: v for k, v in held.items() if k != "allocatable"}
            errors += immutable(after, earlier, "spec.drivers")
    return errors


def _drivers(node: Obj) -> list[Obj]:
    return (node.get("spec") or {}).get("drivers") or []


def check_csi_storage_capacity(capacity: Obj) -> list[FieldError]:
    errors = label_selector(capacity.get("nodeTopology"), "nodeTopology")
    name = capacity.get("storageClassName", "")
    errors += [invalid_value("storageClassName", name, message) for message in dns_subdomain(name)]
    amount = capacity.get("capacity")
    if amount is not None and quantity(amount) < quantity(0):
        text = "must be greater than or equal to 0"
        errors.append(invalid_value("capacity", amount, text))
    return errors


def check_csi_storage_capacity_update(new: Obj, old: Obj) -> list[FieldError]:
    errors = immutable(new.get("nodeTopology"), old.get("nodeTopology"), "nodeTopology")
    after, before = new.get("storageClassName", ""), old.get("storageClassName", "")
    return errors + immutable(after, before, "storageClassName")


def check_volume_attachment(attachment: Obj) -> list[FieldError]:
    spec = attachment.get("spec") or {}
    errors = csi_driver_name(spec.get("attacher", ""), "spec.attacher")
    errors += _attachment_source(spec.get("source") or {}, "spec.source")
    node = spec.get("nodeName", "")
    errors += [invalid_value("spec.nodeName", node, message) for message in dns_subdomain(node)]
    errors += _attachment_status(attachment.get("status") or {})
    volume = (spec.get("source") or {}).get("persistentVolumeName")
    if volume is not None:
        at = "spec.source.persistentVolumeName"
        errors += [invalid_value(at, volume, message) for message in dns_subdomain(volume)]
    return errors


def _attachment_source(source: Obj, path: str) -> list[FieldError]:
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and volume is None:
        return [required(path, _ONE_SOURCE)]
    if inline is not None and volume is not None:
        return [field_forbidden(path, _ONE_SOURCE)]
    if inline is not None:
        return persistent_source(inline, f"{path}.inlineVolumeSpec")
    if not volume:
        at = f"{path}.persistentVolumeName"
        return [required(at, "must specify non empty persistentVolumeName")]
    return []


def _attachment_status(status: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    metadata = status.get("attachmentMetadata") or {}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > _MAX_ATTACHMENT_BYTES:
        errors.append(too_long("status.attachmentMetadata", _MAX_ATTACHMENT_BYTES))
    for name in ("attachError", "detachError"):
        failure, at = status.get(name) or {}, f"status.{name}"
        if len(failure.get("message", "").encode()) > _MAX_ERROR_BYTES:
            # The limit that upstream names is another one than it applies.
            errors.append(too_long(f"{at}.message", _MAX_ATTACHMENT_BYTES))
        code = failure.get("errorCode")
        if code is not None and code < 0:
            errors.append(invalid_value(f"{at}.errorCode", code, between(0, MAX_INT32)))
    return errors


def check_volume_attachment_update(new: Obj, old: Obj) -> list[FieldError]:
    return immutable(new.get("spec"), old.get("spec"), "spec")
