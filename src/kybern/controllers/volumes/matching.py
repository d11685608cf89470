"""Which volume a claim gets: the smallest that fits, unless one is reserved for it. Pure."""

from collections.abc import Iterable

from kybern.api import objects, volumes
from kybern.api.errors import Obj
from kybern.api.selectors import LabelSelector


def find_volume(claim: Obj, candidates: Iterable[Obj], delayed: bool) -> Obj | None:
    """The best match; for a claim that waits for its first consumer, only a reserved volume.

    Volumes with few access modes come before those that can do more than was asked for, as a
    volume for many readers should not be spent on one.
    """
    able = [volume for volume in candidates if _offers_modes(claim, volume)]
    able.sort(key=lambda volume: len(volumes.access_modes(volume)))
    groups: dict[tuple[str, ...], list[Obj]] = {}
    for volume in able:
        groups.setdefault(tuple(sorted(volumes.access_modes(volume))), []).append(volume)
    for group in groups.values():
        if found := _find_in(claim, group, delayed):
            return found
    return None


def _find_in(claim: Obj, candidates: list[Obj], delayed: bool) -> Obj | None:
    fitting = [volume for volume in candidates if _fits(claim, volume)]
    for volume in fitting:
        if volumes.is_bound_to(volume, claim):
            return volume
    if delayed:
        return None
    declared = claim["spec"].get("selector")
    selector = LabelSelector.from_object(declared) if declared is not None else None
    free = [
        volume
        for volume in fitting
        if "claimRef" not in volume["spec"]
        and objects.status(volume).get("phase") == "Available"
        and volumes.storage_class(volume) == volumes.storage_class(claim)
        and (selector is None or selector.matches(objects.labels(volume)))
    ]
    return min(free, key=volumes.capacity, default=None)


def _fits(claim: Obj, volume: Obj) -> bool:
    return (
        volumes.capacity(volume) >= volumes.requested(claim)
        and volumes.volume_mode(volume) == volumes.volume_mode(claim)
        and volumes.attributes_class(volume) == volumes.attributes_class(claim)
        and not objects.is_deleting(volume)
    )


def mismatch(volume: Obj, claim: Obj) -> str:
    """Why a volume that a claim asks for by name cannot be given to it; empty if it can."""
    if objects.is_deleting(volume):
        return f'the volume is marked for deletion "{objects.name(volume)}"'
    if volumes.capacity(volume).value() < volumes.requested(claim).value():
        return "requested PV is too small"
    if volumes.storage_class(volume) != volumes.storage_class(claim):
        return "storageClassName does not match"
    if volumes.attributes_class(volume) != volumes.attributes_class(claim):
        return "volumeAttributesClassName does not match"
    if volumes.volume_mode(volume) != volumes.volume_mode(claim):
        return "incompatible volumeMode"
    if not _offers_modes(claim, volume):
        return "incompatible accessMode"
    return ""


def _offers_modes(claim: Obj, volume: Obj) -> bool:
    offered = volumes.access_modes(volume)
    return all(mode in offered for mode in volumes.access_modes(claim))
