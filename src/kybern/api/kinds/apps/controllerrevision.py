"""ControllerRevision."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.objects import controller_of


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


CONTROLLER_REVISION = Kind(
    group="apps",
    kind="ControllerRevision",
    plural="controllerrevisions",
    columns=COLUMNS,
)
