"""The command-line forms of the questions; each imports what it needs when it is called."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click
import orjson

if TYPE_CHECKING:
    from kybern.client import Client
    from kybern.kubectl.session import Session

OUTPUTS = click.Choice(["text", "wide", "json"])


def _session(kubeconfig: str, context: str, namespace: str) -> "Session":
    from kybern.cluster.record import default_kubeconfig
    from kybern.kubectl.session import open_session

    path = kubeconfig or os.environ.get("KUBECONFIG") or str(default_kubeconfig())
    return open_session(path, context, namespace)


def _ask(session: "Session", question: Callable[["Client"], Awaitable[Any]]) -> Any:
    """Ask, and turn failures into messages."""
    from kybern.api.errors import StatusError
    from kybern.client import ApiUnreachable

    async def run() -> Any:
        try:
            return await question(session.client)
        finally:
            await session.client.close()

    try:
        return asyncio.run(run())
    except StatusError as error:
        raise click.ClickException(f"{error.message} ({error.reason or error.code})") from error
    except ApiUnreachable as error:
        raise click.ClickException(f"the API server does not answer: {error}") from error


def complete_pods(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Names of pods that begin like the word; nothing where the cluster does not answer."""
    from kybern.api.resources import PODS

    given = context.params
    try:
        session = _session(
            given.get("kubeconfig") or "", given.get("context") or "", given.get("namespace") or ""
        )
        found = _ask(session, lambda client: client.list_all(PODS, session.namespace))
    except (click.ClickException, OSError):
        return []
    names = [pod["metadata"]["name"] for pod in found[0]]
    return [name for name in names if name.startswith(word)]


def access_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which cluster is asked."""
    for option in (
        click.option("--context", default="", help="The kubeconfig's context to use."),
        click.option("--kubeconfig", default="", help="The kubeconfig.  [env: KUBECONFIG]"),
        click.option("-n", "--namespace", default="", help="The namespace to work in."),
    ):
        command = option(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("kind", type=click.Choice(["pod", "pods", "po"]), metavar="pod")
@click.argument("name", shell_complete=complete_pods)
@access_options
@click.option("-o", "--output", type=OUTPUTS, default="text", help="Output form.")
def why(kind: str, name: str, namespace: str, kubeconfig: str, context: str, output: str) -> None:
    """Say why a pod waits and what would help, or why its node was chosen."""
    from rich.console import Console

    from kybern.cluster.questions.why import NoSuchPod, ask_why
    from kybern.cluster.questions.why_text import show
    from kybern.component.clock import Clock

    session = _session(kubeconfig, context, namespace)
    answer = _ask(session, lambda client: ask_why(client, session.namespace, name))
    if isinstance(answer, NoSuchPod):
        raise click.ClickException(answer.message)
    if output == "json":
        click.echo(orjson.dumps(answer.as_json(), option=orjson.OPT_INDENT_2))
        return
    show(answer, Console(highlight=False), Clock().time(), wide=output == "wide")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "--filename", "files", multiple=True, help="Manifests, - for standard input.")
@click.option("--drain", multiple=True, metavar="NODE", help="Suppose that NODE is drained.")
@click.option("--add-nodes", type=click.IntRange(0, 10_000), default=0, help="Nodes to add.")
@click.option("--like", default="", metavar="NODE", help="What the added nodes are like.")
@click.option(
    "--scheduler-config",
    type=click.File("rb"),
    help="The KubeSchedulerConfiguration of the cluster, if it is not the default one.",
)
@access_options
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output form."
)
def whatif(
    files: tuple[str, ...],
    drain: tuple[str, ...],
    add_nodes: int,
    like: str,
    scheduler_config: Any,
    namespace: str,
    kubeconfig: str,
    context: str,
    output: str,
) -> None:
    """Say where pods would go, and what would stay pending and why; changes nothing."""
    from rich.console import Console

    from kybern.cluster.questions.cluster_snapshot import read_cluster
    from kybern.cluster.questions.expansion import ManifestError
    from kybern.cluster.questions.nodes import NoSuchNode
    from kybern.cluster.questions.whatif import Changes, what_if
    from kybern.cluster.questions.whatif_text import show
    from kybern.kubectl import manifests
    from kybern.scheduler.configuration import ConfigurationError, load

    session = _session(kubeconfig, context, namespace)
    given = manifests.read(files) if files else []
    try:
        settings = load(scheduler_config.read()) if scheduler_config is not None else None
        changes = Changes(given, session.namespace, drain, add_nodes, like, settings)
        outcome = what_if(_ask(session, read_cluster), changes)
    except (ConfigurationError, ManifestError, NoSuchNode) as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(orjson.dumps(outcome.as_json(), option=orjson.OPT_INDENT_2))
    else:
        show(outcome, Console(highlight=False))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell needs to complete kybern's words: source it.

    \b
    bash:  source <(kybern completion bash)
    zsh:   source <(kybern completion zsh)
    fish:  kybern completion fish | source
    """
    from click.shell_completion import get_completion_class

    from kybern.cluster.cli import main

    kind = get_completion_class(shell)
    assert kind is not None, "click completes for these shells"
    sys.stdout.write(kind(main, {}, "kybern", "_KYBERN_COMPLETE").source() + "\n")
