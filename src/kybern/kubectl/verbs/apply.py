"""``apply``: brings objects to what files say, by server-side apply.

The server keeps which fields this command owns (managedFields), so fields that leave the file
leave the object, and other writers' fields stay. A conflict names the other owner.
"""

import click

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import Resource
from kybern.kubectl import manifests, printers
from kybern.kubectl.session import Session

MANAGER = "kubectl"

command = click.Command(
    "apply",
    help="Create or change objects so that they are as the files say.",
    params=[
        click.Option(
            ["-f", "--filename", "filenames"],
            multiple=True,
            required=True,
            help="File, directory, or - for standard input; may be repeated.",
        ),
        click.Option(["-R", "--recursive"], is_flag=True, help="Directories with all below them."),
        click.Option(
            ["--force-conflicts"], is_flag=True, help="Take over fields that others manage."
        ),
        click.Option(["--dry-run"], type=click.Choice(["none", "server"]), default="none"),
        click.Option(["-o", "--output"], default="", help="Print the objects: yaml, json, name."),
    ],
)


async def run(
    session: Session,
    filenames: tuple[str, ...],
    recursive: bool,
    force_conflicts: bool,
    dry_run: str,
    output: str,
) -> int:
    failures = 0
    applied: list[tuple[Resource, Obj]] = []
    for obj in manifests.read(filenames, recursive):
        resource = await session.by_kind(obj.get("apiVersion", ""), obj["kind"])
        try:
            done, what = await _apply(session, resource, obj, force_conflicts, dry_run == "server")
        except StatusError as error:
            name = (obj.get("metadata") or {}).get("name", "")
            click.echo(f"{resource.kind.lower()}/{name}: {error.message}", err=True)
            failures += 1
            continue
        applied.append((resource, done))
        if not output:
            suffix = " (server dry run)" if dry_run == "server" else ""
            click.echo(f"{printers.typed_name(resource, done)} {what}{suffix}")
    if output:
        click.echo(printers.structured(applied, output, len(applied) == 1), nl=False)
    return 1 if failures else 0


async def _apply(
    session: Session, resource: Resource, obj: Obj, force: bool, dry_run: bool
) -> tuple[Obj, str]:
    meta = obj.setdefault("metadata", {})
    name = meta.get("name", "")
    if not name:
        raise StatusError(400, "BadRequest", "metadata.name is required to apply an object")
    namespace = (meta.get("namespace") or session.namespace) if resource.namespaced else None
    before = await _revision(session, resource, name, namespace)
    done = await session.client.patch(
        resource,
        name,
        obj,
        namespace,
        kind="apply",
        field_manager=MANAGER,
        force=force,
        dry_run=dry_run,
    )
    if before is None:
        return done, "created"
    return done, "unchanged" if done["metadata"]["resourceVersion"] == before else "configured"


async def _revision(
    session: Session, resource: Resource, name: str, namespace: str | None
) -> str | None:
    try:
        found = await session.client.get(resource, name, namespace)
    except StatusError as error:
        if error.code == 404:
            return None
        raise
    return found["metadata"]["resourceVersion"]
