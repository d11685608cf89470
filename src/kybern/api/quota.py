"""What an object uses up of a ResourceQuota, and which quotas concern it.

Pure rules, shared by the admission plugin, which charges for writes, and by the controller that
counts everything again.
"""

from kybern.api.errors import Obj
from kybern.api.kinds.core.pod_qos import qos_class
from kybern.api.objects import epoch
from kybern.api.pod_resources import Amounts, add, amounts, pod_limits, pod_requests
from kybern.api.quantity import Quantity

ONE = Quantity.parse(1)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_POD_NAMES = frozenset(
    {
        "count/pods",
        "pods",
        *(prefix + name for name in _COMPUTE for prefix in ("", "requests.", "limits.")),
    }
)
# Without these a pod cannot be charged against a quota that names them, so they are demanded.
_DEMANDED = frozenset(
    prefix + name for name in ("cpu", "memory") for prefix in ("", "requests.", "limits.")
)
_SERVICE_NAMES = frozenset(
    {"count/services", "services", "services.nodeports", "services.loadbalancers"}
)
_CLAIM_NAMES = frozenset(
    {"count/persistentvolumeclaims", "persistentvolumeclaims", "requests.storage"}
)
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
# Kinds that are counted under their bare name, too.
_BARE_COUNTS = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
_HUGE_PAGES = "hugepages-"
_REQUESTS = "requests."


def usage(group: str, plural: str, obj: Obj, now: float) -> Amounts:
    """How much of each quota resource the object takes."""
    count = count_name(group, plural)
    used: Amounts = {count: ONE}
    if group:
        return used
    if plural == "pods":
        if _alive(obj, now):
            add(used, _compute(pod_requests(obj), pod_limits(obj)))
    elif plural == "services":
        used |= _service_usage(obj["spec"])
    elif plural == "persistentvolumeclaims":
        used |= _claim_usage(obj)
    elif plural in _BARE_COUNTS:
        used[plural] = ONE
    return used


def count_name(group: str, plural: str) -> str:
    """``count/deployments.apps``."""
    return f"count/{plural}.{group}" if group else f"count/{plural}"


def concerned_resources(group: str, plural: str, names: list[str]) -> list[str]:
    """Those of a quota's resources that objects of the kind can use up."""
    return [name for name in names if _concerned(group, plural, name)]


def _concerned(group: str, plural: str, name: str) -> bool:
    if name == count_name(group, plural):
        return True
    if group:
        return False
    if plural == "pods":
        return (
            name in _POD_NAMES
            or name.startswith((_HUGE_PAGES, _REQUESTS + _HUGE_PAGES))
            or (_extended(name))
        )
    if plural == "services":
        return name in _SERVICE_NAMES
    if plural == "persistentvolumeclaims":
        return name in _CLAIM_NAMES or _CLASS_SUFFIX in name
    return plural in _BARE_COUNTS and name == plural


def _extended(name: str) -> bool:
    """``requests.example.com/device``: a resource that is not Kubernetes' own."""
    if not name.startswith(_REQUESTS):
        return False
    domain, slash, _ = name.removeprefix(_REQUESTS).partition("/")
    return bool(slash) and "kubernetes.io" not in domain


def selects(quota: Obj, plural: str, obj: Obj) -> bool:
    """Whether the object is in the quota's scopes."""
    return all(in_scope(scope, plural, obj) for scope in scopes(quota))


def scopes(quota: Obj) -> list[Obj]:
    """The scopes of a quota in the long form."""
    spec = quota.get("spec") or {}
    plain = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or []]
    return plain + ((spec.get("scopeSelector") or {}).get("matchExpressions") or [])


def in_scope(scope: Obj, plural: str, obj: Obj) -> bool:
    """Whether an object is in a scope."""
    name = scope.get("scopeName")
    if plural == "persistentvolumeclaims":
        return name == "VolumeAttributesClass" and _selector_matches(
            scope, obj["spec"].get("volumeAttributesClassName") or ""
        )
    if plural != "pods":
        return False
    match name:
        case "Terminating":
            return terminates(obj)
        case "NotTerminating":
            return not terminates(obj)
        case "BestEffort":
            return qos_class(obj) == "BestEffort"
        case "NotBestEffort":
            return qos_class(obj) != "BestEffort"
        case "PriorityClass":
            return _selector_matches(scope, obj["spec"].get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(obj["spec"])
    return False


def _selector_matches(scope: Obj, value: str) -> bool:
    values = scope.get("values") or []
    match scope.get("operator"):
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
        case "In":
            return bool(value) and value in values
        case "NotIn":
            return value not in values
    return False


def terminates(pod: Obj) -> bool:
    """Whether the pod's life is limited by a deadline."""
    deadline = pod["spec"].get("activeDeadlineSeconds")
    return deadline is not None and deadline >= 0


def _crosses_namespaces(spec: Obj) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or [])
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        terms += [weighted.get("podAffinityTerm") or {} for weighted in preferred]
        if any(term.get("namespaces") or "namespaceSelector" in term for term in terms):
            return True
    return False


def missing_demands(pod: Obj, names: list[str]) -> str:
    """What a pod must specify to be charged for ``names``; empty if it does."""
    resources = pod["spec"].get("resources") or {}
    if resources.get("requests") or resources.get("limits"):
        return ""
    demanded = sorted(_DEMANDED.intersection(names))
    missing: dict[str, list[str]] = {}
    spec = pod["spec"]
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        own = container.get("resources") or {}
        given = _compute(amounts(own.get("requests")), amounts(own.get("limits")))
        for name in demanded:
            if name not in given:
                missing.setdefault(name, []).append(container["name"])
    parts = [f"{name} for: {','.join(sorted(set(missing[name])))}" for name in sorted(missing)]
    return f"must specify {'; '.join(parts)}" if parts else ""


def _alive(pod: Obj, now: float) -> bool:
    """A pod that has ended, or should have by now, takes up nothing but its count."""
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return False
    metadata = pod["metadata"]
    deleted = metadata.get("deletionTimestamp")
    grace = metadata.get("deletionGracePeriodSeconds")
    return deleted is None or grace is None or now <= epoch(deleted) + grace


def _compute(requests: Amounts, limits: Amounts) -> Amounts:
    used: Amounts = {"pods": ONE}
    for name in _COMPUTE:
        if name in requests:
            used[name] = used[_REQUESTS + name] = requests[name]
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    for name, quantity in requests.items():
        if name.startswith(_HUGE_PAGES):
            used[name] = used[_REQUESTS + name] = quantity
        elif _extended(_REQUESTS + name):
            used[_REQUESTS + name] = quantity
    return used


def _service_usage(spec: Obj) -> Amounts:
    ports = len(spec.get("ports") or [])
    type_ = spec.get("type")
    used: Amounts = {"services": ONE}
    used["services.nodeports"] = used["services.loadbalancers"] = Quantity.parse(0)
    if type_ == "NodePort":
        used["services.nodeports"] = Quantity.parse(ports)
    elif type_ == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is False:
            ports = sum(1 for port in spec.get("ports") or [] if port.get("nodePort"))
        used["services.nodeports"] = Quantity.parse(ports)
        used["services.loadbalancers"] = ONE
    return used


def _claim_usage(claim: Obj) -> Amounts:
    spec = claim["spec"]
    annotations = claim["metadata"].get("annotations") or {}
    name = annotations.get("volume.beta.kubernetes.io/storage-class") or spec.get(
        "storageClassName"
    )
    used: Amounts = {"persistentvolumeclaims": ONE}
    if name:
        used[f"{name}{_CLASS_SUFFIX}persistentvolumeclaims"] = ONE
    requested = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if requested is not None:
        size = Quantity.parse(requested)
        # While a claim grows or shrinks, the larger of what is wanted and what is held counts.
        held = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
        if held is not None:
            size = max(size, Quantity.parse(held))
        used["requests.storage"] = size
        if name:
            used[f"{name}{_CLASS_SUFFIX}requests.storage"] = size
    return used
