"""ControllerRevision."""

from kybern.api.kinds.kind import Kind

CONTROLLER_REVISION = Kind(
    group="apps",
    kind="ControllerRevision",
    plural="controllerrevisions",
)
