"""Preflight findings for people and programs; ``preflight.py`` makes them, the CLI and demo show.

``up`` stops at what failed before it starts anything.
"""

import click
import orjson
from rich.console import Console
from rich.markup import escape

from kybern.cluster.preflight import Finding, Outcome, Plan, examine

_MARKS = {
    Outcome.OK: "[green]✓[/green]",
    Outcome.WARNING: "[yellow]![/yellow]",
    Outcome.FAILED: "[red]✗[/red]",
}


def report(output: str, plan: Plan) -> int:
    """Print all findings as text or JSON; 1 if any failed."""
    found = examine(plan)
    if output == "json":
        listed = [finding.as_dict() for finding in found]
        click.echo(orjson.dumps(listed, option=orjson.OPT_INDENT_2))
    else:
        console = Console(highlight=False)
        for finding in found:
            console.print(_line(finding), soft_wrap=True)
    return 1 if any(finding.outcome is Outcome.FAILED for finding in found) else 0


def _line(finding: Finding) -> str:
    text = f"{_MARKS[finding.outcome]} {escape(finding.name)}: {escape(finding.detail)}"
    return f"{text}\n    {escape(finding.fix)}" if finding.fix else text


def require(plan: Plan) -> list[Finding]:
    """The warnings; raises ClickException with what failed and the fixes."""
    found = examine(plan)
    failed = [finding for finding in found if finding.outcome is Outcome.FAILED]
    if failed:
        lines = [f"{one.name}: {one.detail}\n    {one.fix}" for one in failed]
        raise click.ClickException("this machine is not ready:\n" + "\n".join(lines))
    return [finding for finding in found if finding.outcome is Outcome.WARNING]
