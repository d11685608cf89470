"""``exec``: runs a command in a container, its streams joined to ours, over a WebSocket."""

import click

from kybern.api import objects
from kybern.api.resources import PODS
from kybern.kubectl.session import Session
from kybern.kubectl.streams import run_remote
from kybern.kubectl.verbs.logs import default_container, pod_of

command = click.Command(
    "exec",
    help="Run a command in a container: exec NAME -- ls /, exec -it deploy/web -- sh.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    params=[
        click.Argument(["words"], nargs=-1, type=click.UNPROCESSED),
        click.Option(["-c", "--container"], default="", help="Which container."),
        click.Option(["-i", "--stdin"], is_flag=True, help="Pass our standard input on."),
        click.Option(["-t", "--tty"], is_flag=True, help="A terminal for the command."),
    ],
)


async def run(
    session: Session, words: tuple[str, ...], container: str, stdin: bool, tty: bool
) -> int:
    if len(words) < 2:
        raise click.UsageError("say which pod and which command: exec NAME -- COMMAND")
    pod = await pod_of(session, words[0])
    query = [
        ("container", container or default_container(pod)),
        ("stdin", str(stdin).lower()),
        ("stdout", "true"),
        ("stderr", str(not tty).lower()),
        ("tty", str(tty).lower()),
        *(("command", word) for word in words[1:] if word != "--" or words.index(word) > 1),
    ]
    path = PODS.path(objects.namespace(pod), objects.name(pod)) + "/exec"
    return await run_remote(session.client, path, query, stdin, tty)
