"""ResourceQuota."""

from collections.abc import Callable

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.errors import FieldError, Obj, invalid_value
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.metadata import immutable
from kybern.api.validation.quota_scopes import quota_scopes
from kybern.api.validation.resources import (
    HUGE_PAGES,
    STANDARD_RESOURCES,
    resource_amount,
    resource_name,
)


def _default(quota: Obj) -> None:
    default_resource_list((quota.get("spec") or {}).get("hard"))
    status = quota.get("status") or {}
    default_resource_list(status.get("hard"))
    default_resource_list(status.get("used"))


def _use(limits: bool) -> Callable[[Obj, float], str]:
    """Used and hard amounts, of limits or of everything else."""

    def value(quota: Obj, now: float) -> str:
        status = quota.get("status") or {}
        used = status.get("used") or {}
        hard = sorted((status.get("hard") or {}).items())
        wanted = [(name, amount) for name, amount in hard if name.startswith("limits.") == limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{amount}" for name, amount in wanted)

    return value


def _check_amounts(amounts: Obj | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, amount in (amounts or {}).items():
        at = f"{path}[{name}]"
        errors += resource_name(name, at)
        if not _is_quota_resource(name):
            text = "must be a standard resource for quota"
            errors.append(invalid_value(at, name, text))
        errors += resource_amount(name, amount, at)
    return errors


def _is_quota_resource(name: str) -> bool:
    if "/" in name or name in STANDARD_RESOURCES:
        return name != "storage"
    return name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}", f"limits.{HUGE_PAGES}"))


def _check(quota: Obj) -> list[FieldError]:
    spec = quota.get("spec") or {}
    return _check_amounts(spec.get("hard"), "spec.hard") + quota_scopes(spec)


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    after = (new.get("spec") or {}).get("scopes")
    before = (old.get("spec") or {}).get("scopes")
    if sorted(after or ()) == sorted(before or ()):
        return []
    return immutable(after or [], before or [], "spec.scopes")


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    status = new.get("status") or {}
    errors = _check_amounts(status.get("hard"), "status.hard")
    return errors + _check_amounts(status.get("used"), "status.used")


RESOURCE_QUOTA = Kind(
    group="",
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    subresources=(status_of("ResourceQuota"),),
    strategy=Strategy(
        check=_check,
        check_update=_check_update,
        check_status=_check_status,
        default=_default,
        status=True,
    ),
    columns=(NAME, Column("Request", _use(False)), Column("Limit", _use(True)), AGE),
)
