"""Collects the verbs into one command and turns failures into messages.

Called by ``kybern kubectl``. Exit codes are kubectl's: 0, or 1 on any failure, or what the command
in a container returned.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click

from kybern.api.errors import StatusError
from kybern.client import ApiUnreachable
from kybern.kubectl.session import Session, open_session
from kybern.kubectl.verbs import apply, delete, describe, exec, get, logs

EXAMPLES = """\b
Examples:
  kybern kubectl get pods -A -o wide
  kybern kubectl apply -f manifest.yml
  kybern kubectl logs -f deploy/web
  kybern kubectl exec -it web-0 -- sh
"""


def _common_parameters() -> list[click.Parameter]:
    """The flags that every verb takes."""
    return [
        click.Option(["-n", "--namespace"], default="", help="The namespace to work in."),
        click.Option(["--kubeconfig"], default="", help="The kubeconfig.  [env: KUBECONFIG]"),
        click.Option(["--context"], default="", help="The kubeconfig's context to use."),
    ]


def verb(run: Callable[..., Awaitable[int | None]], declared: click.Command) -> click.Command:
    """Give a verb the common flags and its session, and run it to the end."""

    def callback(namespace: str, kubeconfig: str, context: str, **options: Any) -> None:
        session = open_session(kubeconfig, context, namespace)
        sys.exit(asyncio.run(_run(run, session, options)) or 0)

    declared.callback = callback
    declared.params += _common_parameters()
    return declared


async def _run(
    run: Callable[..., Awaitable[int | None]], session: Session, options: dict[str, Any]
) -> int | None:
    try:
        return await run(session, **options)
    except StatusError as error:
        reason = f" ({error.reason})" if error.reason else ""
        click.echo(f"Error from server{reason}: {error.message}", err=True)
        return 1
    except ApiUnreachable as error:
        click.echo(f"The API server does not answer: {error}", err=True)
        click.echo("'kybern status' shows the local cluster, 'kybern up' starts it.", err=True)
        return 1
    finally:
        await session.client.close()


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def kubectl() -> None:
    """Speak to the API of a cluster."""


for module in (get, apply, delete, describe, logs, exec):
    kubectl.add_command(verb(module.run, module.command))


def main(arguments: list[str]) -> None:
    """Run one command; exits the process with its code."""
    kubectl.main(args=_hoisted(arguments), prog_name="kybern kubectl")


def _hoisted(arguments: list[str]) -> list[str]:
    """Common flags may stand before the verb, as kubectl allows; click wants them behind it."""
    takes_value = {"-n", "--namespace", "--kubeconfig", "--context"}
    leading: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name = rest[0].partition("=")[0]
        if name not in takes_value:
            break
        leading.append(rest.pop(0))
        if "=" not in leading[-1] and rest:
            leading.append(rest.pop(0))
    return [*rest[:1], *leading, *rest[1:]]
