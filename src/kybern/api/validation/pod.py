"""Validation of pods and of what an update may change."""

from kybern.api.errors import FieldError, Obj


def check_pod(pod: Obj) -> list[FieldError]:
    return []


def check_pod_update(new: Obj, old: Obj) -> list[FieldError]:
    return []


def check_pod_status(new: Obj, old: Obj) -> list[FieldError]:
    return []
