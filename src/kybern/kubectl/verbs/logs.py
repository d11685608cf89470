"""``logs``: what a pod's containers wrote; of a workload, the logs of one of its pods."""

import sys

import click

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS, Resource
from kybern.api.selectors import LabelSelector
from kybern.kubectl import targets
from kybern.kubectl.session import Session

command = click.Command(
    "logs",
    help="Show the logs of a container: logs NAME, logs deploy/web, logs -f NAME -c sidecar.",
    params=[
        click.Argument(["pod"]),
        click.Option(["-c", "--container"], default="", help="Which container."),
        click.Option(["-f", "--follow"], is_flag=True, help="Go on as the container writes."),
        click.Option(
            ["-p", "--previous"], is_flag=True, help="Of the run before the last restart."
        ),
        click.Option(["--tail"], type=int, default=-1, help="Only this many last lines."),
        click.Option(["--since"], default="", help="Only newer than 5s, 2m or 3h."),
        click.Option(["--timestamps"], is_flag=True, help="The time before each line."),
        click.Option(["--limit-bytes"], type=int, default=0, help="At most this many bytes."),
    ],
)


async def run(
    session: Session,
    pod: str,
    container: str,
    follow: bool,
    previous: bool,
    tail: int,
    since: str,
    timestamps: bool,
    limit_bytes: int,
) -> int | None:
    found = await pod_of(session, pod)
    query = {
        "container": container or default_container(found),
        "follow": follow,
        "previous": previous,
        "timestamps": timestamps,
        "tailLines": str(tail) if tail >= 0 else "",
        "sinceSeconds": str(_seconds(since)) if since else "",
        "limitBytes": limit_bytes,
    }
    path = PODS.path(objects.namespace(found), objects.name(found)) + "/log"
    reply = await session.client.open("GET", path, query=query, headers={"Accept": "*/*"})
    async with reply:
        if reply.status >= 400:
            raise _failure(reply.status, await reply.read())
        async for chunk in reply.chunks:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    return None


def _failure(status: int, body: bytes) -> StatusError:
    import orjson

    try:
        return StatusError.from_status(orjson.loads(body), status)
    except orjson.JSONDecodeError:
        return StatusError(status, "", body.decode(errors="replace"))


def _seconds(text: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600}
    if text[-1:] not in units or not text[:-1].isdigit():
        raise click.UsageError(f"--since {text}: write a number with s, m or h, as in 5m")
    return int(text[:-1]) * units[text[-1]]


def default_container(pod: Obj) -> str:
    """The annotated container, else the first."""
    chosen = objects.annotations(pod).get("kubectl.kubernetes.io/default-container")
    return chosen or pod["spec"]["containers"][0]["name"]


async def pod_of(session: Session, word: str) -> Obj:
    """The pod called so, or a pod of the workload ``TYPE/NAME``; ready ones first."""
    if "/" not in word:
        return await session.client.get(PODS, word, session.namespace)
    target = (await targets.parse(session, (word,)))[0]
    if target.resource == PODS:
        return await session.client.get(PODS, target.name, session.namespace)
    return await _pod_of_workload(session, target.resource, target.name)


async def _pod_of_workload(session: Session, resource: Resource, name: str) -> Obj:
    owner = await session.client.get(resource, name, session.namespace)
    selector = (owner.get("spec") or {}).get("selector")
    if not selector:
        raise click.ClickException(f"{resource.kind.lower()}/{name} selects no pods")
    plain = "matchLabels" not in selector and "matchExpressions" not in selector
    labels = LabelSelector.from_labels(selector) if plain else LabelSelector.from_object(selector)
    found, _ = await session.client.list_all(PODS, session.namespace, label_selector=str(labels))
    if not found:
        raise click.ClickException(f"{resource.kind.lower()}/{name} has no pods")
    return min(found, key=lambda pod: (not objects.is_pod_ready(pod), objects.name(pod)))
