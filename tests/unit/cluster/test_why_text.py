"""What ``kybern why`` prints, for each state that a pod can be in."""

import io
from typing import Any

import pytest
from rich.console import Console

from kybern.cluster.questions.why import Claim, Waiting, Why
from kybern.cluster.questions.why_text import show

Obj = dict[str, Any]

# 2026-01-01T00:03:00Z
NOW = 1767225780.0


def printed(why: Why, *, wide: bool = False, colour: bool = False) -> str:
    out = io.StringIO()
    show(why, Console(file=out, highlight=False, force_terminal=colour, width=300), NOW, wide)
    return out.getvalue()


def about(explanation: Obj | None, phase: str = "Pending", **more: Any) -> Why:
    given = {"node": "", "scheduler": "default-scheduler", **more}
    return Why("default", "web", phase, explanation=explanation, **given)


def score(plugin: str, weight: int, raw: int, normalized: int) -> Obj:
    weighted = weight * normalized
    return {
        "plugin": plugin,
        "weight": weight,
        "raw": raw,
        "normalized": normalized,
        "weighted": weighted,
    }


UNSCHEDULABLE: Obj = {
    "state": "Unschedulable",
    "summary": "no node of 9 fits; b lacks 200m cpu",
    "attempts": 4,
    "nodesTotal": 9,
    "message": "0/9 nodes are available: ...",
    "rejections": [
        {
            "plugin": "NodeUnschedulable",
            "nodes": 1,
            "reasons": [{"reason": "node(s) were unschedulable", "nodes": 1, "examples": ["a"]}],
        },
        {
            "plugin": "NodeResourcesFit",
            "nodes": 8,
            "reasons": [
                {"reason": "Insufficient cpu", "nodes": 8, "examples": ["b", "c", "d", "e", "f"]}
            ],
        },
    ],
    "closest": [
        {
            "node": "b",
            "lacks": [{"resource": "cpu", "requested": "2", "free": "1800m", "lacking": "200m"}],
        }
    ],
    "advice": ["Free 200m CPU on b, or add a node."],
}

SCHEDULED: Obj = {
    "state": "Scheduled",
    "summary": "b scored 270, next came a with 230",
    "time": "2026-01-01T00:00:00Z",
    "nodesTotal": 3,
    "nodesFeasible": 2,
    "candidates": [
        {
            "node": "b",
            "total": 270,
            "scores": [score("TaintToleration", 2, 0, 100), score("Fit", 1, 70, 70)],
        },
        {
            "node": "a",
            "total": 230,
            "scores": [score("TaintToleration", 2, 0, 100), score("Fit", 1, 30, 30)],
        },
    ],
    "lastFailure": {"time": "2025-12-31T23:59:00Z", "message": "0/3 nodes are available"},
}


def test_a_pod_without_a_node() -> None:
    assert printed(about(UNSCHEDULABLE, claims=(Claim("data", "Pending", "fast"),))) == (
        "pod default/web  Pending · 4 attempts\n"
        "Unschedulable: no node of 9 fits; b lacks 200m cpu.\n"
        "\n"
        "NODES    PLUGIN              WHY NOT                      WHICH\n"
        "1 of 9   NodeUnschedulable   node(s) were unschedulable   a\n"
        "8 of 9   NodeResourcesFit    Insufficient cpu             b, c, d, e and 4 more\n"
        "\n"
        "CLOSEST   LACKS      ASKED FOR   FREE\n"
        "b         200m cpu   2           1800m\n"
        "\n"
        "CLAIM NOT BOUND   PHASE     CLASS\n"
        "data              Pending   fast\n"
        "\n"
        "WHAT WOULD HELP\n"
        "  - Free 200m CPU on b, or add a node.\n"
        "\n"
        "Event: 0/9 nodes are available: ...\n"
    )


def test_a_pod_with_a_node_and_the_scores() -> None:
    waiting = (Waiting("main", "ImagePullBackOff", "no such image"),)
    why = about(SCHEDULED, "Pending", node="b", waiting=waiting)
    assert printed(why) == (
        "pod default/web  Pending on b · scheduled 3m ago\n"
        "Scheduled: b scored 270, next came a with 230. 2 of 3 nodes could take it.\n"
        "\n"
        "SCORES            WEIGHT   b *   a\n"
        "TaintToleration   2        200   200\n"
        "Fit               1        70    30\n"
        "total                      270   230\n"
        "\n"
        "CONTAINER   WAITS              WHY\n"
        "main        ImagePullBackOff   no such image\n"
        "\n"
        "Before that, 4m ago: 0/3 nodes are available\n"
    )
    assert "70 / 70 / 70" in printed(why, wide=True)


def test_scores_of_now_are_called_so() -> None:
    text = printed(about({**SCHEDULED, "recomputed": True}, "Running", node="b"))
    assert "SCORES NOW" in text and "scheduled 3m ago" not in text


@pytest.mark.parametrize(
    ("why", "line"),
    [
        (
            about({"state": "Gated", "summary": "waiting for scheduling gates: [g]"}),
            "Gated: waiting for scheduling gates: [g].",
        ),
        (
            about({"state": "Preempting", "summary": "no room", "nominatedNode": "a"}),
            "Preempting: no room. Pods on a make room for it.",
        ),
        (
            about({"state": "Unschedulable", "summary": "no nodes available to schedule pods"}),
            "Unschedulable: no nodes available to schedule pods.",
        ),
        (
            about(None, scheduler="volcano"),
            'The scheduler "volcano" decides about it and does not explain itself.',
        ),
        (about(None, "Succeeded", node="a", finished=True), "It has run to its end on a."),
        (about(None), "The scheduler does not answer. Does it run?"),
        (about(None, condition="0/1 nodes"), "Its status says: 0/1 nodes"),
        (
            about(None, "Running", node="a"),
            "No scheduler explains why it is there: it may have been given its node directly.",
        ),
    ],
)
def test_other_states(why: Why, line: str) -> None:
    assert line in printed(why).splitlines()


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in printed(about(UNSCHEDULABLE))
    assert "\x1b[" in printed(about(UNSCHEDULABLE), colour=True)
