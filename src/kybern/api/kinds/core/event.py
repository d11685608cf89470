"""Event, served as core/v1 and as events.k8s.io/v1."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import at, field, name, since
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy

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


def convert(event: Obj, api_version: str) -> Obj:
    """The event in the other version; a fresh object."""
    if event.get("apiVersion") == api_version:
        return event
    to_core = api_version == CORE
    names = {new: old for old, new in _RENAMED} if to_core else dict(_RENAMED)
    converted = {names.get(field_name, field_name): v for field_name, v in event.items()}
    converted["apiVersion"] = api_version
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
    Column("Name", name, priority=1, format="name"),
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


EVENT = Kind(
    group="",
    kind="Event",
    plural="events",
    also_served_as=("events.k8s.io/v1",),
    short_names=("ev",),
    strategy=Strategy(convert=convert, allow_create_on_update=True),
    columns=COLUMNS,
    selectable_fields=SELECTABLE,
    field_aliases=ALIASES,
)
