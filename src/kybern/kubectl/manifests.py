"""Objects from files, directories and standard input: YAML (several documents) or JSON."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from kybern.api import yaml
from kybern.api.errors import Obj

SUFFIXES = (".yaml", ".yml", ".json")


def read(names: tuple[str, ...], recursive: bool = False) -> list[Obj]:
    """All objects in order; lists are taken apart. Raises ClickException for what is no object."""
    found: list[Obj] = []
    for name in names:
        for source, text in _texts(name, recursive):
            found += _objects(source, text)
    if not found:
        raise click.ClickException("no objects passed to apply or delete: the files are empty")
    return found


def _texts(name: str, recursive: bool) -> Iterator[tuple[str, bytes]]:
    if name == "-":
        yield "standard input", sys.stdin.buffer.read()
        return
    path = Path(name)
    if path.is_dir():
        files = path.rglob("*") if recursive else path.glob("*")
        for file in sorted(one for one in files if one.suffix in SUFFIXES):
            yield str(file), file.read_bytes()
        return
    try:
        yield name, path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror}") from error


def _objects(source: str, text: bytes) -> Iterator[Obj]:
    try:
        documents = list(yaml.load_all(text))
    except ValueError as error:
        raise click.ClickException(f"{source}: {error}") from error
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or not document.get("kind"):
            raise click.ClickException(f"{source}: an object needs apiVersion and kind")
        if document["kind"].endswith("List") and isinstance(document.get("items"), list):
            yield from document["items"]
        else:
            yield document
