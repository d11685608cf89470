"""Flags as people read them in ``--help``, and as components get them."""

from dataclasses import dataclass

import click

from kybern.component.duration import Duration
from kybern.component.flags import build, click_options, flag


@dataclass
class Config:
    address: str = flag("0.0.0.0", "Where to listen.")
    name: str = flag("", "What to be called.")
    fast: bool = flag(False, "Whether to hurry.")
    pause: Duration = flag(90.0, "How long to rest.")
    modes: tuple[str, ...] = flag(("Node", "RBAC"), "How to judge.")


def test_defaults_are_shown_as_one_would_write_them() -> None:
    shown = {option.opts[0]: option.help for option in click_options([Config])}
    assert shown == {
        "--address": "Where to listen.  [default: 0.0.0.0]",
        "--name": "What to be called.",
        "--fast": "Whether to hurry.  [default: false]",
        "--pause": "How long to rest.  [default: 1m30s]",
        "--modes": "How to judge.  [default: Node,RBAC]",
    }


def test_what_is_not_given_keeps_its_default() -> None:
    command = click.Command("run", params=list(click_options([Config])))
    given = command.make_context("run", ["--pause=2s", "--modes=RBAC,Webhook", "--fast"])
    config = build(Config, given.params)
    assert config == Config(fast=True, pause=Duration(2), modes=("RBAC", "Webhook"))
