"""ControllerRevision."""

from kybern.api.errors import FieldError, Obj, required
from kybern.api.kinds.columns import AGE, NAME, NONE, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import controller_of
from kybern.api.validation.fields import not_negative
from kybern.api.validation.metadata import immutable


def _controller(revision: Obj, now: float) -> str:
    owner = controller_of(revision)
    if owner is None:
        return NONE
    group = owner["apiVersion"].rpartition("/")[0]
    kind = owner["kind"].lower()
    return f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"


COLUMNS = (
    NAME,
    Column("Controller", _controller),
    Column("Revision", at("revision", default=0)),
    AGE,
)


def _check(revision: Obj) -> list[FieldError]:
    return not_negative(revision.get("revision"), "revision")


def _check_new(revision: Obj) -> list[FieldError]:
    errors = _check(revision)
    data = revision.get("data")
    if data is None:
        errors.append(required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        errors.append(required("data", "data must be a valid JSON object"))
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    return _check(new) + immutable(new.get("data"), old.get("data"), "data")


CONTROLLER_REVISION = Kind(
    group="apps",
    kind="ControllerRevision",
    plural="controllerrevisions",
    columns=COLUMNS,
    strategy=Strategy(
        metadata_checks=2, check=_check_new, checks_on_update=0, check_update=_check_update
    ),
)
