"""``delete``: deletes objects, named or from files, and waits until they are gone."""

import asyncio

import click

from kybern.api.errors import StatusError
from kybern.kubectl import manifests, targets
from kybern.kubectl.session import Session
from kybern.kubectl.targets import Target

POLL_SECONDS = 0.1
POLICIES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}

command = click.Command(
    "delete",
    help="Delete objects: delete pod NAME, delete -f FILE, delete pods -l app=web.",
    params=[
        click.Argument(["words"], nargs=-1),
        click.Option(
            ["-f", "--filename", "filenames"], multiple=True, help="Delete what is in it."
        ),
        click.Option(["-R", "--recursive"], is_flag=True, help="Directories with all below them."),
        click.Option(["-l", "--selector"], default="", help="Labels, as in app=web."),
        click.Option(["--all", "all_"], is_flag=True, help="All objects of the resource."),
        click.Option(["-A", "--all-namespaces"], is_flag=True, help="In every namespace."),
        click.Option(
            ["--grace-period"], type=int, default=-1, help="Seconds to end; 0 with force."
        ),
        click.Option(["--force"], is_flag=True, help="Do not wait for the node's confirmation."),
        click.Option(["--now"], is_flag=True, help="A grace period of one second."),
        click.Option(
            ["--cascade"],
            type=click.Choice(list(POLICIES)),
            default="background",
            help="What becomes of dependents.",
        ),
        click.Option(["--wait/--no-wait"], default=True, help="Return when the objects are gone."),
        click.Option(["--timeout"], type=float, default=0.0, help="Seconds to wait; 0: for ever."),
        click.Option(["--ignore-not-found"], is_flag=True, help="No error for what is not there."),
    ],
)


async def run(
    session: Session,
    words: tuple[str, ...],
    filenames: tuple[str, ...],
    recursive: bool,
    selector: str,
    all_: bool,
    all_namespaces: bool,
    grace_period: int,
    force: bool,
    now: bool,
    cascade: str,
    wait: bool,
    timeout: float,
    ignore_not_found: bool,
) -> int:
    doomed = await _doomed(session, words, filenames, recursive, selector, all_, all_namespaces)
    grace = 0 if force else 1 if now else None if grace_period < 0 else grace_period
    failures = 0
    going: list[tuple[Target, str | None, str]] = []
    for target, namespace in doomed:
        try:
            uid = await _delete(session, target, namespace, grace, POLICIES[cascade])
        except StatusError as error:
            if not (error.code == 404 and ignore_not_found):
                click.echo(f"Error from server ({error.reason}): {error.message}", err=True)
                failures += 1
            continue
        group = f".{target.resource.group}" if target.resource.group else ""
        verb = "force deleted" if force else "deleted"
        click.echo(f'{target.resource.kind.lower()}{group} "{target.name}" {verb}')
        going.append((target, namespace, uid))
    if wait:
        try:
            async with asyncio.timeout(timeout or None):
                for target, namespace, uid in going:
                    await _until_gone(session, target, namespace, uid)
        except TimeoutError:
            click.echo("error: timed out waiting for the condition", err=True)
            return 1
    return 1 if failures else 0


async def _doomed(
    session: Session,
    words: tuple[str, ...],
    filenames: tuple[str, ...],
    recursive: bool,
    selector: str,
    all_: bool,
    all_namespaces: bool,
) -> list[tuple[Target, str | None]]:
    """Every object to delete, by name."""
    doomed: list[tuple[Target, str | None]] = []
    if filenames:
        for obj in manifests.read(filenames, recursive):
            resource = await session.by_kind(obj.get("apiVersion", ""), obj["kind"])
            meta = obj.get("metadata") or {}
            namespace = (
                (meta.get("namespace") or session.namespace) if resource.namespaced else None
            )
            doomed.append((Target(resource, meta.get("name", "")), namespace))
        return doomed
    for target in await targets.parse(session, words):
        namespace = session.namespace if target.resource.namespaced else None
        if target.name:
            doomed.append((target, namespace))
            continue
        if not selector and not all_:
            raise click.UsageError(
                "name the objects, select them with -l, or say --all to mean every one"
            )
        where = None if all_namespaces else namespace
        found, _ = await session.client.list_all(target.resource, where, label_selector=selector)
        doomed += [
            (Target(target.resource, o["metadata"]["name"]), o["metadata"].get("namespace"))
            for o in found
        ]
    return doomed


async def _delete(
    session: Session, target: Target, namespace: str | None, grace: int | None, policy: str
) -> str:
    """Returns the uid of what is going, to tell it from a successor of the same name."""
    answer = await session.client.delete(
        target.resource,
        target.name,
        namespace,
        grace_period_seconds=grace,
        propagation_policy=policy,
    )
    if answer.get("kind") == "Status":
        return (answer.get("details") or {}).get("uid", "")
    return answer["metadata"].get("uid", "")


async def _until_gone(session: Session, target: Target, namespace: str | None, uid: str) -> None:
    while True:
        try:
            found = await session.client.get(target.resource, target.name, namespace)
        except StatusError as error:
            if error.code == 404:
                return
            raise
        if uid and found["metadata"]["uid"] != uid:
            return
        await asyncio.sleep(POLL_SECONDS)
