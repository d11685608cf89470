"""What ``kybern why`` prints for people: the answer first, then what it rests on.

Colours come from rich, which leaves them out where the output is no terminal.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from kybern.cluster.questions.tables import Cell, say, table
from kybern.cluster.questions.why import DEFAULT_SCHEDULER, Why
from kybern.component.clock import parse_rfc3339

Obj = dict[str, Any]
SHOWN_NODES = 4
STYLES = {"Scheduled": "green", "Binding": "green", "Queued": "yellow", "Preempting": "yellow"}


def show(why: Why, console: Console, now: float, wide: bool = False) -> None:
    """Print an answer. ``now`` is in seconds since the epoch."""
    say(console, _title(why, now))
    found = why.explanation
    if found is None:
        for line in _without_explanation(why):
            say(console, Text(line))
    else:
        say(console, _answer(found))
        _show_rejections(found, console)
        _show_closest(found, console)
        _show_candidates(found, console, wide)
    _show_waiting(why, console)
    if found is not None:
        _show_advice(found, console)
        _show_history(found, console, now)
    if why.worked_out_here:
        text = "\nWorked out here from the cluster's objects, with the scheduler's default"
        say(console, Text(f"{text} configuration: no scheduler explains it.", "dim"))


def _title(why: Why, now: float) -> Text:
    found = why.explanation or {}
    title = Text.assemble((f"pod {why.namespace}/{why.name}", "bold"), "  ", why.phase)
    if why.node:
        title.append(f" on {why.node}")
    parts: list[str] = []
    if found and why.scheduler != DEFAULT_SCHEDULER:
        parts.append(why.scheduler)
    if found.get("state") == "Scheduled" and not found.get("recomputed"):
        parts.append(f"scheduled {_ago(found['time'], now)}")
    if (attempts := found.get("attempts", 0)) > 1:
        parts.append(f"{attempts} attempts")
    for part in parts:
        title.append(f" · {part}", "dim")
    return title


def _answer(found: Obj) -> Text:
    text = f"{found.get('state', '')}: {found.get('summary', '')}."
    answer = Text(text, STYLES.get(found.get("state", ""), "red"))
    if found.get("state") == "Preempting":
        answer.append(f" Pods on {found['nominatedNode']} make room for it.", "yellow")
    if found.get("candidates"):
        answer.append(f" {found['nodesFeasible']} of {found['nodesTotal']} nodes could take it.")
    return answer


def _without_explanation(why: Why) -> Iterable[str]:
    if why.finished:
        yield f"It has run to its end on {why.node}." if why.node else "It has ended."
        return
    if why.scheduler != DEFAULT_SCHEDULER:
        yield f'The scheduler "{why.scheduler}" decides about it and does not explain itself.'
        if not why.node:
            yield "If no scheduler of that name runs, the pod waits for ever."
    elif why.node:
        yield "No scheduler explains why it is there: it may have been given its node directly."
    else:
        yield "The scheduler does not answer. Does it run?"
    if why.condition:
        yield f"Its status says: {why.condition}"


def _show_rejections(found: Obj, console: Console) -> None:
    rows: list[list[Cell]] = []
    for one in found.get("rejections") or ():
        for reason in one.get("reasons") or ():
            examples = reason.get("examples") or []
            rows.append(
                [
                    f"{reason['nodes']} of {found['nodesTotal']}",
                    Text(one["plugin"], "cyan"),
                    reason["reason"],
                    Text(_names(examples, reason["nodes"]), "dim"),
                ]
            )
    table(console, ["NODES", "PLUGIN", "WHY NOT", "WHICH"], rows)


def _show_closest(found: Obj, console: Console) -> None:
    rows: list[list[Cell]] = [
        [one["node"], f"{lack['lacking']} {lack['resource']}", lack["requested"], lack["free"]]
        for one in found.get("closest") or ()
        for lack in one.get("lacks") or ()
    ]
    table(console, ["CLOSEST", "LACKS", "ASKED FOR", "FREE"], rows)


def _show_candidates(found: Obj, console: Console, wide: bool) -> None:
    """The score table; plugins that tell the nodes apart stand out."""
    candidates = found.get("candidates") or []
    if not candidates:
        return
    rows: list[list[Cell]] = []
    for scores in zip(*(one["scores"] for one in candidates), strict=True):
        differ = len({one["weighted"] for one in scores}) > 1
        cells = [_score(one, wide) for one in scores]
        texts = [scores[0]["plugin"], str(scores[0]["weight"]), *cells]
        rows.append([Text(text, "" if differ else "dim") for text in texts])
    totals = [Text(str(one["total"]), "bold") for one in candidates]
    rows.append([Text("total", "bold"), "", *totals])
    kind = "SCORES NOW" if found.get("recomputed") else "SCORES"
    names = [one["node"] + (" *" if one is candidates[0] else "") for one in candidates]
    table(console, [kind, "WEIGHT", *names], rows)
    if wide:
        say(console, Text("Each as raw / normalized / weighted.", "dim"))


def _score(one: Obj, wide: bool) -> str:
    return (
        f"{one['raw']} / {one['normalized']} / {one['weighted']}" if wide else str(one["weighted"])
    )


def _show_waiting(why: Why, console: Console) -> None:
    claims: list[list[Cell]] = [
        [one.name, one.phase or "does not exist", one.storage_class or "-"] for one in why.claims
    ]
    table(console, ["CLAIM NOT BOUND", "PHASE", "CLASS"], claims)
    containers: list[list[Cell]] = [[one.container, one.reason, one.message] for one in why.waiting]
    table(console, ["CONTAINER", "WAITS", "WHY"], containers)


def _show_advice(found: Obj, console: Console) -> None:
    advice = found.get("advice") or ()
    if advice:
        say(console, Text("\nWHAT WOULD HELP", "bold"))
    for text in advice:
        say(console, Text(f"  - {text}"))


def _show_history(found: Obj, console: Console, now: float) -> None:
    if failure := found.get("lastFailure"):
        when = _ago(failure["time"], now)
        say(console, Text(f"\nBefore that, {when}: {failure['message']}", "dim"))
    elif message := found.get("message"):
        say(console, Text(f"\nEvent: {message}", "dim"))


def _names(examples: Sequence[str], count: int) -> str:
    shown = ", ".join(examples[:SHOWN_NODES])
    more = count - min(len(examples), SHOWN_NODES)
    return f"{shown} and {more} more" if shown and more else shown


def _ago(timestamp: str, now: float) -> str:
    seconds = max(0, int(now - parse_rfc3339(timestamp)))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"
