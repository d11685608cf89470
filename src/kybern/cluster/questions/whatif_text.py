"""What ``kybern whatif`` prints for people: the sum first, then where pods go, then what waits."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from kybern.cluster.questions.tables import Cell, say, table
from kybern.cluster.questions.whatif import (
    DAEMON,
    DRAINED,
    EVICTED,
    NEW,
    PENDING,
    Fate,
    Load,
    Outcome,
)

SHOWN_NODES = 6
SHOWN_ADVICE = 2
SHOWN_LOADS = 20
ORIGINS = {
    NEW: "new",
    PENDING: "waits now",
    DRAINED: "drained",
    EVICTED: "pushed aside",
    DAEMON: "daemon",
}


def show(outcome: Outcome, console: Console) -> None:
    """Print an outcome."""
    say(console, _sum(outcome))
    _show_placed(outcome.placed, console)
    _show_pending(outcome.pending, console)
    _show_drain(outcome, console)
    _show_loads(outcome.loads, console)
    for note in outcome.notes:
        say(console, Text(f"\nNote: {note}.", "dim"))
    say(console, Text("\nNothing was changed.", "dim"))


def _sum(outcome: Outcome) -> Text:
    placed, pending = len(outcome.placed), len(outcome.pending)
    if not placed and not pending:
        return Text("No pod would have to be placed.")
    text = Text(f"{placed} {_pods(placed)} would be placed", "green" if placed else "")
    if pending:
        text.append(f", {pending} would stay pending", "red")
    evicted = sum(len(one.evicted) for one in outcome.placed)
    if evicted:
        text.append(f", {evicted} would be pushed aside", "yellow")
    if outcome.replaced:
        text.append(f", {len(outcome.replaced)} would be replaced")
    text.append(".")
    return text


def _pods(count: int) -> str:
    return "pod" if count == 1 else "pods"


def _show_placed(placed: Sequence[Fate], console: Console) -> None:
    rows: list[list[Cell]] = []
    for (name, origin, came_from), fates in _grouped(placed):
        nodes = Counter(one.node for one in fates)
        told = f"{ORIGINS[origin]} from {came_from}" if came_from else ORIGINS[origin]
        rows.append([name, str(len(fates)), told, _counted(nodes)])
        evicted = [victim for one in fates for victim in one.evicted]
        if evicted:
            rows.append(["", "", "", Text(f"pushes aside {', '.join(evicted)}", "yellow")])
    table(console, ["WHAT", "PODS", "WHY", "WHERE"], rows)


def _show_pending(pending: Sequence[Fate], console: Console) -> None:
    rows: list[list[Cell]] = []
    for (name, origin, _), fates in _grouped(pending):
        first = fates[0]
        summary = first.explanation.get("summary") or first.message
        rows.append([Text(name, "red"), str(len(fates)), ORIGINS[origin], summary])
        for text in first.explanation.get("advice", ())[:SHOWN_ADVICE]:
            rows.append(["", "", "", Text(f"- {text}", "dim")])
    table(console, ["STAYS PENDING", "PODS", "WHY PLACED", "WHY NOT"], rows)


def _grouped(
    fates: Sequence[Fate],
) -> list[tuple[tuple[str, str, str], list[Fate]]]:
    """Pods of one workload that are placed for one reason, in the order of the first."""
    groups: dict[tuple[str, str, str], list[Fate]] = {}
    for fate in fates:
        name = f"{fate.namespace}/{fate.owner or 'Pod/' + fate.name}"
        groups.setdefault((name, fate.origin, fate.came_from), []).append(fate)
    return list(groups.items())


def _counted(nodes: Counter[str]) -> str:
    texts = [f"{node} ({n})" if n > 1 else node for node, n in sorted(nodes.items())]
    more = len(texts) - SHOWN_NODES
    shown = ", ".join(texts[:SHOWN_NODES])
    return f"{shown} and {more} more nodes" if more > 0 else shown


def _show_drain(outcome: Outcome, console: Console) -> None:
    drained = outcome.drained
    rows: list[list[Cell]] = [
        [f"{one.namespace}/{one.name}", str(one.allowed), str(one.wanted)]
        for one in drained.budgets
    ]
    table(console, ["THE DRAIN WAITS FOR BUDGET", "ALLOWS", "OF PODS"], rows)
    lost: list[list[Cell]] = [
        [Text(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", "red")]
        for pod in drained.lost
    ]
    table(console, ["LOST FOR GOOD: NO CONTROLLER REPLACES THEM"], lost)


def _show_loads(loads: Sequence[Load], console: Console) -> None:
    """The nodes whose pods change."""
    changed = [one for one in loads if _changes(one)]
    rows: list[list[Cell]] = [
        [
            Text(one.name, "green") if one.is_new else one.name,
            _share(one.cpu),
            _share(one.memory),
            f"{one.pods[1]} -> {one.pods[2]}",
        ]
        for one in changed[:SHOWN_LOADS]
    ]
    table(console, ["NODE", "CPU", "MEMORY", "PODS"], rows)
    if len(changed) > SHOWN_LOADS:
        say(console, Text(f"and {len(changed) - SHOWN_LOADS} more nodes", "dim"))


def _changes(load: Load) -> bool:
    return any(one[1] != one[2] for one in (load.cpu, load.memory, load.pods))


def _share(amount: tuple[int, int, int]) -> str:
    allocatable, before, after = amount
    if not allocatable:
        return "-"
    return f"{before * 100 // allocatable}% -> {after * 100 // allocatable}%"
