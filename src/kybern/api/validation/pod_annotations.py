"""Validation of the annotations of pods that the API itself gives a meaning."""

import re

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_PATH = "metadata.annotations"
_COST = re.compile(r"0|-?[1-9][0-9]*", re.ASCII).fullmatch
_UNPREFIXED_PROFILES = ("", "runtime/default", "unconfined")


def check_annotations(pod: Obj) -> list[FieldError]:
    """Mirror pods name their node; costs are numbers; AppArmor's profiles are of containers."""
    annotations, spec = pod["metadata"].get("annotations") or {}, pod.get("spec") or {}
    errors: list[FieldError] = []
    mirror = annotations.get(MIRROR)
    if mirror is not None and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(invalid_value(f"{_PATH}[{MIRROR}]", mirror, text))
    cost = annotations.get(DELETION_COST)
    if cost is not None and not _is_cost(cost):
        text = "must be a 32bit integer"
        errors.append(invalid_value(f"{_PATH}[{DELETION_COST}]", cost, text))
    for key, profile in annotations.items():
        if key.startswith(APP_ARMOR):
            errors += _app_armor(key, profile, spec)
    return errors


def _is_cost(text: str) -> bool:
    return bool(_COST(text)) and len(text) < 12 and -(2**31) <= int(text) < 2**31


def _app_armor(key: str, profile: str, spec: Obj) -> list[FieldError]:
    name, path = key.removeprefix(APP_ARMOR), f"{_PATH}[{key}]"
    groups = ("containers", "initContainers", "ephemeralContainers")
    names = [held.get("name") for group in groups for held in spec.get(group) or ()]
    errors: list[FieldError] = []
    if name not in names:
        errors.append(invalid_value(path, name, "container not found"))
    if profile not in _UNPREFIXED_PROFILES and not profile.startswith("localhost/"):
        text = f'invalid AppArmor profile name: "{profile}"'
        errors.append(invalid_value(path, profile, text))
    return errors


def check_annotations_update(new: Obj, old: Obj) -> list[FieldError]:
    """What makes a pod a mirror pod, or confines it, is fixed when it is made."""
    after = new["metadata"].get("annotations") or {}
    before = old["metadata"].get("annotations") or {}
    errors: list[FieldError] = []
    for key, value in before.items():
        what = _fixed(key)
        if what and after.get(key) != value:
            text = f"may not remove or update {what}"
            errors.append(field_forbidden(f"{_PATH}[{key}]", text))
    for key in after:
        what = _fixed(key)
        if what and key not in before:
            errors.append(field_forbidden(f"{_PATH}[{key}]", f"may not add {what}"))
    return errors + check_annotations(new)


def _fixed(key: str) -> str:
    if key == MIRROR:
        return "mirror pod annotation"
    return "AppArmor annotations" if key.startswith(APP_ARMOR) else ""
