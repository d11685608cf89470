"""``describe``: everything about objects in a form for reading, with their events."""

import re
from typing import Any

import click

from kybern.api import objects
from kybern.api.ages import since
from kybern.api.errors import Obj
from kybern.api.resources import EVENTS
from kybern.kubectl import printers, targets
from kybern.kubectl.session import Session

INDENT = "  "
WIDTH = 24

command = click.Command(
    "describe",
    help="Tell all about objects: describe pod NAME, describe node, describe -l app=web pods.",
    params=[
        click.Argument(["words"], nargs=-1),
        click.Option(["-l", "--selector"], default="", help="Labels, as in app=web."),
        click.Option(["-A", "--all-namespaces"], is_flag=True, help="In every namespace."),
    ],
)


async def run(
    session: Session, words: tuple[str, ...], selector: str, all_namespaces: bool
) -> int | None:
    namespace = None if all_namespaces else session.namespace
    described: list[str] = []
    for target in await targets.parse(session, words):
        if target.name:
            found = [await session.client.get(target.resource, target.name, namespace)]
        else:
            found, _ = await session.client.list_all(
                target.resource, namespace, label_selector=selector
            )
        for obj in found:
            described.append(describe(obj) + await _events(session, obj))
    if not described:
        click.echo("No resources found.", err=True)
        return None
    click.echo("\n\n".join(described))
    return None


def describe(obj: Obj) -> str:
    """Name, labels and annotations first, then the object's own fields in their order."""
    meta = obj["metadata"]
    lines = [_line("Name", meta["name"])]
    if meta.get("namespace"):
        lines.append(_line("Namespace", meta["namespace"]))
    lines += _pairs("Labels", objects.labels(obj))
    lines += _pairs("Annotations", objects.annotations(obj))
    lines.append(_line("Created", meta.get("creationTimestamp", "")))
    if meta.get("deletionTimestamp"):
        lines.append(_line("Terminating since", meta["deletionTimestamp"]))
    for owner in objects.owner_references(obj):
        if owner.get("controller"):
            lines.append(_line("Controlled By", f"{owner['kind']}/{owner['name']}"))
    for field, value in obj.items():
        if field not in ("apiVersion", "kind", "metadata"):
            lines += _field(field, value, 0)
    return "\n".join(lines)


def _line(title: str, value: Any, depth: int = 0) -> str:
    return f"{INDENT * depth}{title + ':':<{max(WIDTH - 2 * depth, 1)}} {value}".rstrip()


def _pairs(title: str, pairs: Any) -> list[str]:
    shown = [f"{name}={value}" for name, value in sorted(pairs.items())] or ["<none>"]
    return [_line(title, shown[0]), *(" " * (WIDTH + 1) + one for one in shown[1:])]


def _title(field: str) -> str:
    """``hostIP`` as ``Host IP``; map keys that are no field names stay as they are."""
    if not re.fullmatch(r"[A-Za-z0-9]+", field):
        return field
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", field)
    return spaced[:1].upper() + spaced[1:]


def _field(field: str, value: Any, depth: int) -> list[str]:
    if isinstance(value, dict):
        if not value:
            return []
        lines = [_line(_title(field), "", depth)]
        for name, inner in value.items():
            lines += _field(name, inner, depth + 1)
        return lines
    if isinstance(value, list):
        return _list(field, value, depth)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\n" in text:
        return [
            _line(_title(field), "", depth),
            *(INDENT * (depth + 1) + t for t in text.split("\n")),
        ]
    return [_line(_title(field), text, depth)]


def _list(field: str, items: list[Any], depth: int) -> list[str]:
    if not any(isinstance(one, dict | list) for one in items):
        return [_line(_title(field), ", ".join(str(one) for one in items), depth)]
    if field == "conditions":
        return _conditions(items, depth)
    lines = [_line(_title(field), "", depth)]
    for position, one in enumerate(items):
        name = str(one.get("name", position)) if isinstance(one, dict) else str(position)
        inner = {k: v for k, v in one.items() if k != "name"} if isinstance(one, dict) else one
        lines.append(INDENT * (depth + 1) + name + ":")
        for inner_field, value in inner.items() if isinstance(inner, dict) else ():
            lines += _field(inner_field, value, depth + 2)
    return lines


def _conditions(items: list[Obj], depth: int) -> list[str]:
    rows = [["TYPE", "STATUS", "REASON", "MESSAGE"]]
    for one in items:
        rows.append([one.get(f, "") for f in ("type", "status", "reason", "message")])
    table = printers.aligned(rows).splitlines()
    return [_line("Conditions", "", depth), *(INDENT * (depth + 1) + row for row in table)]


async def _events(session: Session, obj: Obj) -> str:
    meta = obj["metadata"]
    fields = f"involvedObject.name={meta['name']}"
    if meta.get("namespace"):
        fields += f",involvedObject.uid={meta['uid']}"
    else:
        fields += f",involvedObject.kind={obj['kind']}"
    found, _ = await session.client.list_all(EVENTS, meta.get("namespace"), field_selector=fields)
    if not found:
        return "\nEvents:                  <none>"
    found.sort(key=lambda event: _last_seen(event).removesuffix("Z"))
    rows = [["TYPE", "REASON", "AGE", "FROM", "MESSAGE"]]
    now = session.client.clock.time()
    for event in found:
        source = (event.get("source") or {}).get("component") or event.get("reportingComponent", "")
        text = (event.get("message") or "").strip()
        rows.append(
            [event.get("type", ""), event.get("reason", ""), _age(event, now), source, text]
        )
    return "\nEvents:\n" + "\n".join(INDENT + line for line in printers.aligned(rows).splitlines())


def _last_seen(event: Obj) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next(filter(None, times), "")


def _age(event: Obj, now: float) -> str:
    """How long ago; where it was repeated, how often since the first time."""
    first = since(event.get("eventTime") or event.get("firstTimestamp"), now)
    count = (event.get("series") or event).get("count") or 1
    if count < 2:
        return first
    return f"{since(_last_seen(event), now)} (x{count} over {first})"
