"""``get``: shows objects, as the server's table or in full, once or as they change."""

import click
import orjson

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import Resource
from kybern.kubectl import printers, targets
from kybern.kubectl.session import Session
from kybern.kubectl.targets import Target

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

command = click.Command(
    "get",
    help="Show objects: get pods, get pod/NAME, get deploy,svc, get all.",
    params=[
        click.Argument(["words"], nargs=-1),
        click.Option(["-o", "--output"], default="", help=f"One of: {printers.FORMATS}."),
        click.Option(["-A", "--all-namespaces"], is_flag=True, help="In every namespace."),
        click.Option(["-l", "--selector"], default="", help="Labels, as in app=web,tier!=test."),
        click.Option(["--field-selector"], default="", help="Fields, as in status.phase=Running."),
        click.Option(["-w", "--watch"], is_flag=True, help="Go on and show changes."),
        click.Option(["--no-headers"], is_flag=True, help="Leave the headers out."),
        click.Option(["--ignore-not-found"], is_flag=True, help="No error for what is not there."),
    ],
)


async def run(
    session: Session,
    words: tuple[str, ...],
    output: str,
    all_namespaces: bool,
    selector: str,
    field_selector: str,
    watch: bool,
    no_headers: bool,
    ignore_not_found: bool,
) -> int | None:
    wanted = await targets.parse(session, words)
    namespace = None if all_namespaces else session.namespace
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    if printers.is_structured(output):
        items = await _objects(session, wanted, namespace, query, ignore_not_found)
        single = len(wanted) == 1 and bool(wanted[0].name)
        if items or not ignore_not_found:
            click.echo(printers.structured(items, output, single), nl=False)
        return None
    shown = await _tables(session, wanted, namespace, query, ignore_not_found)
    rows = sum(len(one.get("rows") or ()) for _, one in shown)
    if rows:
        several = len(wanted) > 1
        named = [(_prefix(r) if several else "", t) for r, t in shown if t.get("rows")]
        with_namespace = all_namespaces and any(r.namespaced for r, _ in shown)
        headers = not no_headers
        click.echo(printers.table(named, output == "wide", with_namespace, headers))
    elif not watch:
        where = f" in {namespace} namespace" if namespace else ""
        click.echo(f"No resources found{where}.", err=True)
    if watch:
        await _follow(session, wanted, namespace, query, output == "wide", shown)
    return None


def _prefix(resource: Resource) -> str:
    group = f".{resource.group}" if resource.group else ""
    return f"{resource.kind.lower()}{group}/"


async def _tables(
    session: Session,
    wanted: list[Target],
    namespace: str | None,
    query: dict[str, str],
    ignore_not_found: bool,
) -> list[tuple[Resource, Obj]]:
    shown: list[tuple[Resource, Obj]] = []
    for target in wanted:
        path = target.resource.path(namespace, target.name or None)
        parameters = {} if target.name else query
        answer = await session.client.request(
            "GET", path, query=parameters, headers={"Accept": TABLE}
        )
        if answer.status == 404 and target.name and ignore_not_found:
            continue
        if answer.status >= 400:
            raise StatusError.from_status(answer.json(), answer.status)
        shown.append((target.resource, answer.json()))
    return shown


async def _objects(
    session: Session,
    wanted: list[Target],
    namespace: str | None,
    query: dict[str, str],
    ignore_not_found: bool,
) -> list[tuple[Resource, Obj]]:
    items: list[tuple[Resource, Obj]] = []
    for target in wanted:
        resource = target.resource
        if target.name:
            try:
                obj = await session.client.get(resource, target.name, namespace)
            except StatusError as error:
                if error.code == 404 and ignore_not_found:
                    continue
                raise
            items.append((resource, obj))
            continue
        found, _ = await session.client.list_all(
            resource,
            namespace,
            label_selector=query["labelSelector"],
            field_selector=query["fieldSelector"],
        )
        items += [(resource, obj) for obj in found]
    for _, obj in items:
        obj["metadata"].pop("managedFields", None)
    return items


async def _follow(
    session: Session,
    wanted: list[Target],
    namespace: str | None,
    query: dict[str, str],
    wide: bool,
    shown: list[tuple[Resource, Obj]],
) -> None:
    """Rows as they change, until interrupted."""
    if len(wanted) != 1:
        raise click.UsageError("--watch follows one resource at a time")
    resource, first = wanted[0].resource, shown[0][1] if shown else {}
    parameters = {**query, "watch": "true", "resourceVersion": _revision(first)}
    if wanted[0].name:
        parameters["fieldSelector"] = f"metadata.name={wanted[0].name}"
    reply = await session.client.open(
        "GET", resource.path(namespace), query=parameters, headers={"Accept": TABLE}
    )
    columns: list[Obj] = first.get("columnDefinitions") or []
    async with reply:
        rest = b""
        async for chunk in reply.chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in filter(None, lines):
                event = orjson.loads(line)
                table = event["object"]
                columns = table.get("columnDefinitions") or columns
                if table.get("kind") == "Table" and event["type"] != "BOOKMARK":
                    whole = {**table, "columnDefinitions": columns}
                    click.echo(printers.table([("", whole)], wide, namespace is None, False))


def _revision(table: Obj) -> str:
    return (table.get("metadata") or {}).get("resourceVersion", "")
