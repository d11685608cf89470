"""Targets of a command line: ``pods``, ``pod web-0``, ``pod/web-0 svc/web``, ``all``."""

from dataclasses import dataclass

import click

from kybern.api.resources import Resource
from kybern.kubectl.session import Session


@dataclass(frozen=True)
class Target:
    """A resource, and a name or all of them."""

    resource: Resource
    name: str = ""


async def parse(session: Session, words: tuple[str, ...]) -> list[Target]:
    """Raises ClickException for what makes no sense."""
    if not words:
        raise click.UsageError("say what: a resource such as 'pods', or 'pod/NAME'")
    if any("/" in word for word in words):
        return [await _slashed(session, word) for word in words]
    targets: list[Target] = []
    for kind in words[0].split(","):
        found = await session.in_category(kind)
        if kind == "all" or (found and len(words) == 1):
            targets += [Target(one.resource) for one in found]
            continue
        resource = (await session.find(kind)).resource
        targets += [Target(resource, name) for name in words[1:]] or [Target(resource)]
    return targets


async def _slashed(session: Session, word: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash or not name:
        raise click.UsageError(f"'{word}' is not of the form TYPE/NAME like the others")
    return Target((await session.find(kind)).resource, name)
