"""PodTemplate."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import FieldError, Obj
from kybern.api.kinds.columns import NAME, at, containers, label_map
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.pod_template import pod_template

_spec = at("template", "spec", default={})


def _default(obj: Obj) -> None:
    default_template(obj.setdefault("template", {}))


def _changed(new: Obj, old: Obj) -> bool:
    return bool(new.get("template") != old.get("template"))


COLUMNS = (
    NAME,
    Column("Containers", lambda o, now: containers(_spec(o, now))[0]),
    Column("Images", lambda o, now: containers(_spec(o, now))[1]),
    Column("Pod Labels", lambda o, now: label_map(at("template", "metadata", "labels")(o, now))),
)


def _check(obj: Obj) -> list[FieldError]:
    return pod_template(obj.get("template") or {}, "template")


POD_TEMPLATE = Kind(
    group="",
    kind="PodTemplate",
    plural="podtemplates",
    strategy=Strategy(
        check=_check,
        warnings=lambda o: template_warnings(o.get("template") or {}, "template"),
        default=_default,
        generation=_changed,
    ),
    columns=COLUMNS,
)
