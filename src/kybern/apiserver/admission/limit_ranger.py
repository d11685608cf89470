"""LimitRanger: containers, pods and claims stay within a namespace's LimitRanges.

Containers that say nothing get the defaults; what is outside the bounds is refused.
"""

from collections.abc import Iterator

from kybern.api.errors import Obj
from kybern.api.pod_resources import Amounts, amounts, pod_limits, pod_requests
from kybern.api.quantity import Quantity
from kybern.api.resources import LIMIT_RANGES
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    name = "LimitRanger"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"), ("", "persistentvolumeclaims"))
    subresources = ("", "resize")

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if attributes.resource != "pods" or attributes.operation != CREATE or pod is None:
            return
        for found in self._lookup.list(LIMIT_RANGES, attributes.namespace):
            _apply_defaults(pod, found["spec"].get("limits") or [])

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None or not _judged(attributes):
            return
        old = attributes.old_object
        if old is not None and old["metadata"].get("deletionTimestamp"):
            return
        check = _pod_problems if attributes.resource == "pods" else _claim_problems
        for found in self._lookup.list(LIMIT_RANGES, attributes.namespace):
            problems = list(check(attributes.object, found["spec"].get("limits") or []))
            if problems:
                unique = list(dict.fromkeys(problems))
                why = unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"
                raise attributes.forbid(why)


def _judged(attributes: AdmissionAttributes) -> bool:
    """A pod's resources can change by resizing only."""
    if attributes.resource == "pods":
        return (attributes.subresource == "resize") == (attributes.operation == UPDATE)
    return not attributes.subresource


def _apply_defaults(pod: Obj, limits: list[Obj]) -> None:
    requests: Obj = {}
    ceilings: Obj = {}
    for limit in limits:
        if limit.get("type") == "Container":
            requests |= limit.get("defaultRequest") or {}
            ceilings |= limit.get("default") or {}
    notes: list[str] = []
    spec = pod["spec"]
    for group, word in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(group) or []:
            resources = container.setdefault("resources", {})
            for side, title, defaults in (
                ("requests", "request", requests),
                ("limits", "limit", ceilings),
            ):
                given = resources.get(side) or {}
                added = sorted(name for name in defaults if name not in given)
                if added:
                    resources[side] = {**{name: defaults[name] for name in added}, **given}
                    notes.append(f"{', '.join(added)} {title} for {word} {container['name']}")
    if notes:
        annotations = pod["metadata"].get("annotations") or {}
        note = "LimitRanger plugin set: " + "; ".join(notes)
        pod["metadata"]["annotations"] = {**annotations, _ANNOTATION: note}


def _pod_problems(pod: Obj, limits: list[Obj]) -> Iterator[str]:
    spec = pod["spec"]
    for limit in limits:
        if limit.get("type") == "Container":
            for group in ("containers", "initContainers"):
                for container in spec.get(group) or []:
                    own = container.get("resources") or {}
                    yield from _bounds(
                        limit, amounts(own.get("requests")), amounts(own.get("limits"))
                    )
        elif limit.get("type") == "Pod":
            yield from _bounds(
                limit, pod_requests(pod, overhead=False), pod_limits(pod, overhead=False)
            )


def _claim_problems(claim: Obj, limits: list[Obj]) -> Iterator[str]:
    requests = amounts((claim["spec"].get("resources") or {}).get("requests"))
    for limit in limits:
        if limit.get("type") != "PersistentVolumeClaim":
            continue
        for name, bound in sorted(amounts(limit.get("min")).items()):
            yield from _minimum("PersistentVolumeClaim", name, bound, requests, {})
        for name, bound in sorted(amounts(limit.get("max")).items()):
            head = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
            if name not in requests:
                yield f"{head}.  No request is specified"
            elif requests[name] > bound:
                yield f"{head}, but request is {requests[name]}"


def _bounds(limit: Obj, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = limit["type"]
    for name, bound in sorted(amounts(limit.get("min")).items()):
        yield from _minimum(kind, name, bound, requests, limits)
    for name, bound in sorted(amounts(limit.get("max")).items()):
        head = f"maximum {name} usage per {kind} is {bound}"
        if name not in limits:
            yield f"{head}.  No limit is specified"
        elif limits[name] > bound:
            yield f"{head}, but limit is {limits[name]}"
        elif name in requests and requests[name] > bound:
            yield f"{head}, but request is {requests[name]}"
    for name, bound in sorted(amounts(limit.get("maxLimitRequestRatio")).items()):
        yield from _ratio(kind, name, bound, requests, limits)


def _minimum(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    head = f"minimum {name} usage per {kind} is {bound}"
    if name not in requests:
        yield f"{head}.  No request is specified"
    elif requests[name] < bound:
        yield f"{head}, but request is {requests[name]}"
    elif name in limits and limits[name] < bound:
        yield f"{head}, but limit is {limits[name]}"


def _ratio(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    head = f"{name} max limit to request ratio per {kind} is {bound}"
    if not requests.get(name):
        yield f"{head}, but no request is specified or request is 0"
    elif not limits.get(name):
        yield f"{head}, but no limit is specified or limit is 0"
    elif limits[name].nano > bound.nano * requests[name].nano // 10**9:
        ratio = limits[name].nano / requests[name].nano
        yield f"{head}, but provided ratio is {ratio:f}"
