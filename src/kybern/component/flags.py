"""Command-line flags as dataclass fields.

A component's ``Config`` declares each flag once: ``secure_port: int = flag(6443, "Port to ...")``.
``click_options`` turns a Config class into click options with upstream's spelling
(``--secure-port``), ``build`` makes the Config from what click parsed. Several components in one
process share a flag of the same name.
"""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import click

from kybern.component.duration import Duration, go_duration, parse_duration

T = TypeVar("T")


class BadFlag(ValueError):
    """A flag, or a file that a flag names, says what a component cannot do; the text says why."""


def flag(default: Any, help: str, name: str = "") -> Any:
    """A Config field that is a flag; ``name`` overrides the spelling without the dashes.

    A tuple default makes a comma-separated, repeatable flag.
    """
    return dataclasses.field(default=default, metadata={"help": help, "flag": name})


def _spelling(field: "dataclasses.Field[Any]") -> str:
    return field.metadata["flag"] or field.name.replace("_", "-")


def _fields(config: type) -> list["dataclasses.Field[Any]"]:
    return [field for field in dataclasses.fields(config) if "help" in field.metadata]


def click_options(configs: Iterable[type]) -> list[click.Option]:
    """The options of all ``configs``, each spelling once."""
    options: dict[str, click.Option] = {}
    for config in configs:
        hints = typing.get_type_hints(config)
        for field in _fields(config):
            spelling = _spelling(field)
            if spelling not in options:
                options[spelling] = _option(spelling, field, hints[field.name])
    return list(options.values())


def _option(spelling: str, field: "dataclasses.Field[Any]", hint: Any) -> click.Option:
    help_text = f"{field.metadata['help']}{_shown_default(field.default, hint)}"
    parameter = spelling.replace("-", "_").lower()
    if hint is bool:
        return click.Option(
            [f"--{spelling}", parameter],
            type=bool,
            default=None,
            is_flag=False,
            flag_value=True,
            help=help_text,
        )
    multiple = isinstance(field.default, tuple)
    if isinstance(hint, types.UnionType):
        hint = next(arm for arm in hint.__args__ if arm is not type(None))
    kind: Any = str if multiple or hint not in (int, float) else hint
    if hint is Duration:
        kind = _DurationType()
    return click.Option(
        [f"--{spelling}", parameter],
        type=kind,
        default=None,
        multiple=multiple,
        help=help_text,
    )


def _shown_default(default: Any, hint: Any) -> str:
    """What ends the help of a flag: its default as one would write it; nothing for an empty one."""
    if default in ("", (), None):
        return ""
    if isinstance(default, bool):
        text = str(default).lower()
    elif hint is Duration:
        text = go_duration(default)
    else:
        text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"  [default: {text}]"


class _DurationType(click.ParamType):
    """A Go duration (``1m30s``); a plain number counts seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Duration:
        try:
            return Duration(value)
        except ValueError:
            pass
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def build(config: type[T], parsed: Mapping[str, Any]) -> T:
    """A Config from click's parameters; what was not given keeps its default.

    A field ``given`` is told the names of those that were, for components with a file of settings.
    """
    values: dict[str, Any] = {}
    for field in _fields(config):
        given = parsed.get(_spelling(field).replace("-", "_").lower())
        if isinstance(field.default, tuple):
            given = tuple(part for text in given or () for part in text.split(",") if part) or None
        if given is not None:
            values[field.name] = given
    if "given" in typing.get_type_hints(config):
        values["given"] = frozenset(values)
    return config(**values)
