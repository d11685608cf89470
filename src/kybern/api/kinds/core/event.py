"""Event, served as core/v1 and as events.k8s.io/v1."""

from kybern.api.ages import since
from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.kinds.columns import at, field
from kybern.api.kinds.columns import name as name_cell
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.fields import named, qualified_name
from kybern.api.validation.metadata import IMMUTABLE, object_meta_update, standard_finalizers
from kybern.api.validation.names import dns_subdomain, is_dns1123_subdomain, is_path_segment

CORE = "v1"
EVENTS = "events.k8s.io/v1"

# Fields that the two versions name differently: core first, events.k8s.io second.
_RENAMED = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_EVENTS = dict(_RENAMED)
_TO_CORE = {new: old for old, new in _RENAMED}
# What core writes even if it is empty, and events.k8s.io does not.
_WRITTEN_BY_CORE = ("reportingComponent", "reportingInstance")


def convert(event: Obj, api_version: str) -> Obj:
    """The event in the other version; a fresh object."""
    if event.get("apiVersion") == api_version:
        return event
    to_core = api_version == CORE
    names = _TO_CORE if to_core else _TO_EVENTS
    # Kind and version come first in every text, which lists rely on.
    converted: Obj = {"kind": event.get("kind"), "apiVersion": api_version}
    for name, value in event.items():
        if name not in converted and (to_core or value or name not in _WRITTEN_BY_CORE):
            converted[names.get(name, name)] = value
    return converted


def _first_seen(event: Obj, now: float) -> str:
    return since(event.get("firstTimestamp") or event.get("eventTime"), now)


def _last_seen(event: Obj, now: float) -> str:
    series = event.get("series")
    if series is not None:
        return since(series.get("lastObservedTime"), now)
    if event.get("lastTimestamp"):
        return since(event["lastTimestamp"], now)
    return _first_seen(event, now)


def _object(event: Obj, now: float) -> str:
    target = event.get("involvedObject") or {}
    kind = target.get("kind", "").lower()
    return f"{kind}/{target['name']}" if target.get("name") else kind


def _source(event: Obj, now: float) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent", "")
    instance = source.get("host") or event.get("reportingInstance", "")
    return f"{component}, {instance}" if instance else component


def _count(event: Obj, now: float) -> int:
    series = event.get("series")
    if series is not None:
        return int(series.get("count", 0))
    return event.get("count") or 1


def _selectable_source(event: Obj) -> str:
    component = (event.get("source") or {}).get("component")
    return component or event.get("reportingComponent", "")


COLUMNS = (
    Column("Last Seen", _last_seen),
    Column("Type", at("type")),
    Column("Reason", at("reason")),
    Column("Object", _object),
    Column("Subobject", at("involvedObject", "fieldPath"), priority=1),
    Column("Source", _source, priority=1),
    Column("Message", lambda o, now: (o.get("message") or "").strip()),
    Column("First Seen", _first_seen, priority=1),
    Column("Count", _count, priority=1),
    Column("Name", name_cell, priority=1, format="name"),
)
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
SELECTABLE = {f"involvedObject.{part}": field("involvedObject", part) for part in _INVOLVED} | {
    "reason": field("reason"),
    "reportingComponent": field("reportingComponent"),
    "source": _selectable_source,
    "type": field("type"),
}
ALIASES = {
    EVENTS: {f"regarding.{part}": f"involvedObject.{part}" for part in _INVOLVED}
    | {
        "reportingController": "reportingComponent",
        "reason": "reason",
        "type": "type",
    }
}


_TYPES = ("Normal", "Warning")
_SHORT, _LONG = 128, 1024
_EMPTY = {"involvedObject": {}, "source": {}, "count": 0, "related": None, "eventTime": None}
_FIXED = (
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def _check(event: Obj) -> list[FieldError]:
    """What events of both versions are held to."""
    space = event["metadata"].get("namespace", "")
    involved = (event.get("involvedObject") or {}).get("namespace", "")
    errors: list[FieldError] = []
    if not event.get("eventTime"):
        fits = space in ("", "default") if not involved else space == involved
    else:
        fits = bool(involved) or space in ("default", "kube-system")
    if not fits:
        text = "does not match event.namespace"
        errors.append(invalid_value("involvedObject.namespace", involved, text))
    return errors + named(is_dns1123_subdomain(space), space, "namespace")


def _check_reported(event: Obj, shown: str = "reportingComponent") -> list[FieldError]:
    """What events with a time of their own say; ``shown`` is what the version calls the author."""
    if not event.get("eventTime"):
        return []
    errors: list[FieldError] = []
    controller = event.get("reportingComponent", "")
    if not controller:
        errors.append(required(shown))
    errors += qualified_name(controller, shown)
    for name, longest in (
        ("reportingInstance", _SHORT),
        ("action", _SHORT),
        ("reason", _SHORT),
        ("message", _LONG),
    ):
        value = event.get(name, "")
        if not value and name != "message":
            errors.append(required(name))
        if len(value.encode()) > longest:
            errors.append(invalid_value(name, "", f"can have at most {longest} characters"))
    return errors


def check_events_api(event: Obj) -> list[FieldError]:
    """What events.k8s.io asks for beside: a time and a type, and none of the old fields."""
    name = event["metadata"].get("name", "")
    errors = _check_reported(event, "reportingController") + _check_series(event.get("series"))
    errors += named(dns_subdomain(name), name, "metadata.name") if name else []
    if not event.get("eventTime"):
        errors.append(required("eventTime"))
    if event.get("type") not in _TYPES:
        text = f"has invalid value: {event.get('type', '')}"
        errors.append(invalid_value("type", "", text))
    for name in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if event.get(name):
            errors.append(invalid_value(name, "", "needs to be unset"))
    return errors


def _check_series(series: Obj | None) -> list[FieldError]:
    errors: list[FieldError] = []
    if series is not None and series.get("count", 0) < 2:
        errors.append(invalid_value("series.count", "", "should be at least 2"))
    if series is not None and not series.get("lastObservedTime"):
        errors.append(required("series.lastObservedTime"))
    return errors


def check_events_api_update(new: Obj, old: Obj) -> list[FieldError]:
    """Through events.k8s.io only an event's series may change."""
    errors = _check_reported(new, "reportingController")
    errors += object_meta_update(new["metadata"], old["metadata"])
    errors += standard_finalizers(new["metadata"])
    if new.get("series") != old.get("series"):
        errors += _check_series(new.get("series"))
    for name, shown in _FIXED:
        after, before = new.get(name) or None, old.get(name) or None
        if after != before:
            errors.append(invalid_value(shown, after or _EMPTY.get(name, ""), IMMUTABLE))
    return errors


EVENT = Kind(
    group="",
    kind="Event",
    plural="events",
    also_served_as=("events.k8s.io/v1",),
    short_names=("ev",),
    strategy=Strategy(
        metadata_checks=0,
        name_rule=is_path_segment,
        check=_check,
        check_as={CORE: _check_reported, EVENTS: check_events_api},
        check_update_as={
            CORE: lambda new, old: _check_reported(new),
            EVENTS: check_events_api_update,
        },
        convert=convert,
        allow_create_on_update=True,
        default_propagation="Unsupported",
    ),
    columns=COLUMNS,
    selectable_fields=SELECTABLE,
    field_aliases=ALIASES,
)
