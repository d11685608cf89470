"""Asking about one row of each kind gives what asking about every row gives, while much changes."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from kybern.scheduler import lookalikes
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.lookalikes import Lookalikes
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.pod_class import PodClass
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]

HOST, ZONE, RACK = "kubernetes.io/hostname", "topology.kubernetes.io/zone", "rack"
NODES = 90


def make_node(rng: random.Random, name: str) -> Obj:
    """Nodes that look much alike: a few have no zone, share a host name, or are of another size."""
    labels = {HOST: name, ZONE: f"z{rng.randrange(3)}", RACK: f"r{rng.randrange(50)}"}
    if rng.random() < 0.05:
        del labels[rng.choice(list(labels))]
    elif rng.random() < 0.2:
        labels[HOST] = f"shared{rng.randrange(6)}"
    taints = [{"key": "soft", "effect": "PreferNoSchedule"}] if rng.random() < 0.1 else []
    if rng.random() < 0.03:
        taints.append({"key": "hard", "effect": "NoSchedule"})
    cpu = "2" if rng.random() < 0.8 else "4"
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "6"}},
    }


def term(key: str, app: str) -> Obj:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


def affinity(side: str, key: str, app: str, weight: int = 0) -> Obj:
    if not weight:
        return {side: {"requiredDuringSchedulingIgnoredDuringExecution": [term(key, app)]}}
    weighted = [{"weight": weight, "podAffinityTerm": term(key, app)}]
    return {side: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}


def spread(*rules: tuple[str, str], skew: int = 1) -> list[Obj]:
    return [
        {
            "topologyKey": key,
            "maxSkew": skew,
            "whenUnsatisfiable": action,
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
        for key, action in rules
    ]


HARD, SOFT = "DoNotSchedule", "ScheduleAnyway"
SPREAD: Obj = {"topologySpreadConstraints": spread((ZONE, SOFT), (HOST, SOFT))}
SHAPES: list[Obj] = [
    {},
    {"affinity": affinity("podAntiAffinity", HOST, "web")},
    {"affinity": affinity("podAntiAffinity", RACK, "db")},
    {"affinity": affinity("podAffinity", ZONE, "web")},
    {"affinity": affinity("podAffinity", HOST, "db")},
    {"affinity": affinity("podAffinity", ZONE, "web", 10)},
    {"affinity": affinity("podAntiAffinity", HOST, "web", 7)},
    {"topologySpreadConstraints": spread((ZONE, HARD), (HOST, HARD))},
    {"topologySpreadConstraints": spread((RACK, HARD), skew=2)},
    SPREAD,
    {"topologySpreadConstraints": spread((RACK, SOFT), (ZONE, HARD))},
    {"tolerations": [{"key": "soft", "operator": "Exists"}]},
]


def make_pod(rng: random.Random, number: int, shape: Obj, size: str = "300m") -> Obj:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": size}}}
    meta = {"name": f"p{number}", "namespace": "default", "uid": f"u{number}"}
    labels = {"app": rng.choice(["web", "db"])}
    return {
        "metadata": {**meta, "labels": labels},
        "spec": {"containers": [container], **shape},
    }


class Core:
    """A decider, and another one on the same cluster that asks about every row."""

    def __init__(self, seed: int, nodes: int = NODES) -> None:
        self.rng = random.Random(seed)
        self.cluster = ClusterColumns()
        for number in range(nodes):
            self.cluster.set_node(make_node(self.rng, f"n{number}"))
        self.nominations = Nominations()
        self.decider, self.other = (
            Decider(
                self.cluster,
                Profile(ProfileSettings(), self.cluster),
                self.nominations,
                random.Random(seed),
            )
            for _ in range(2)
        )

    def check(self, pod: Obj) -> str | None:
        outcome = self.decider.decide(pod)
        pod_class = self.other.pod_class(pod)
        rows = self.other.feasible_rows(pod, pod_class)
        if not len(rows):
            live = np.flatnonzero(self.cluster.nodes.alive.values)
            contested = self.nominations.contested_rows(pod, self.cluster.nodes)
            expected = self.other.diagnose(pod, pod_class, live, contested)
            assert isinstance(outcome, FitError)
            assert outcome.message == expected.message
            assert outcome.plugins == expected.plugins
            assert reasons(outcome) == reasons(expected)
            return None
        assert isinstance(outcome, Placement), outcome.message
        assert outcome.feasible in (-1, len(rows))
        total = np.zeros(len(rows), dtype=np.int64)
        for weighted, _, normalised in pod_class.score_table(rows):
            total += weighted.weight * normalised
        assert outcome.row in rows[total == total.max()]
        return outcome.node

    def disturb(self) -> None:
        what, rng = self.rng.random(), self.rng
        if what < 0.2 and self.cluster.pods:
            self.cluster.remove(rng.choice(list(self.cluster.pods)))
        elif what < 0.21:
            name = f"n{rng.randrange(NODES)}"
            self.cluster.set_node(make_node(rng, name))
        elif what < 0.215:
            self.cluster.remove_node(f"n{rng.randrange(NODES)}")
        elif what < 0.23 and self.cluster.pods:
            placed = self.cluster.pods[rng.choice(list(self.cluster.pods))]
            meta = {**placed.obj["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
            node = self.cluster.nodes.names[placed.row]
            self.cluster.place({**placed.obj, "metadata": meta}, node)
        elif what < 0.237:
            rival = make_pod(rng, 10**6 + rng.randrange(5), {})
            self.nominations.add(rival, f"n{rng.randrange(NODES)}")
        elif what < 0.3:
            self.nominations.remove(f"u{10**6 + rng.randrange(5)}")


def reasons(error: FitError) -> dict[tuple[str, tuple[str, ...], bool], list[int]]:
    found: dict[tuple[str, tuple[str, ...], bool], list[int]] = {}
    for verdict in error.verdicts:
        assert verdict.count == len(verdict.rows)
        key = (verdict.plugin, verdict.reasons, verdict.unresolvable)
        found.setdefault(key, []).extend(verdict.rows.tolist())
    return {key: sorted(rows) for key, rows in found.items()}


@contextmanager
def counted(counts: Counter[str]) -> Iterator[None]:
    """How often rows were asked about by kind, or all of them, while classes come again."""
    real = Lookalikes.examples

    def examples(self: Lookalikes) -> Any:
        found = real(self)
        counts["every row" if found is None else "kinds"] += 1
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lookalikes, "examples", examples)
        yield


@pytest.fixture(autouse=True)
def small_clusters_have_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookalikes, "FEW_ROWS", 0)


@pytest.mark.parametrize("followed", [10, 60])
def test_kinds_of_rows_decide_as_all_rows_would(
    followed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few changes followed, rows are often sorted anew; with many, they move one by one."""
    monkeypatch.setattr(lookalikes, "FOLLOWED", followed)
    counts = Counter[str]()
    for seed in range(8):
        core = Core(seed)
        shapes = [SPREAD, *core.rng.sample(SHAPES, 3)]
        with counted(counts):
            for number in range(300):
                size = core.rng.choices(["300m", "3", "9"], [12, 2, 1])[0]
                pod = make_pod(core.rng, number, core.rng.choice(shapes), size)
                node = core.check(pod)
                if node is not None:
                    core.cluster.place(pod, node)
                core.disturb()
    assert counts["kinds"] > 300, counts


def test_a_host_that_comes_to_share_its_name_is_told_apart_by_it() -> None:
    core = Core(1, nodes=0)
    plain = make_node(random.Random(1), "")
    for name in "abc":
        plain = {"metadata": {"name": name, "labels": {HOST: name}}, "status": plain["status"]}
        core.cluster.set_node(plain)
    shape = {"affinity": affinity("podAntiAffinity", HOST, "web")}
    for number in range(3):
        core.check(make_pod(core.rng, number, shape))
    core.cluster.set_node({**plain, "metadata": {"name": "b", "labels": {HOST: "a"}}})
    core.check(make_pod(core.rng, 3, shape))
    holder = make_pod(core.rng, 4, {})
    holder["metadata"]["labels"]["app"] = "web"
    core.cluster.place(holder, "a")
    assert {core.check(make_pod(core.rng, 5 + number, shape)) for number in range(10)} == {"c"}


def test_a_class_whose_rows_all_differ_asks_about_every_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookalikes, "KINDS", 1)
    monkeypatch.setattr(lookalikes, "KINDS_SHARE", NODES)
    core, counts = Core(1), Counter[str]()
    with counted(counts):
        for number in range(30):
            core.check(make_pod(core.rng, number, SPREAD))
    assert not counts["kinds"]
    assert counts["every row"]


def test_every_row_of_the_best_kinds_is_drawn_equally_often() -> None:
    core = Core(3)
    node = make_node(random.Random(1), "model")
    node["spec"] = {}
    for number in range(NODES):
        labels = {HOST: f"n{number}", ZONE: f"z{number % 3}"}
        core.cluster.set_node({**node, "metadata": {"name": f"n{number}", "labels": labels}})
    pod = make_pod(core.rng, 1, {"affinity": affinity("podAffinity", ZONE, "web", 10)})
    held = make_pod(core.rng, 2, {})
    held["metadata"]["labels"]["app"] = "web"
    core.cluster.place(held, "n0")
    chosen = Counter[str]()
    for _ in range(3000):
        outcome = core.decider.decide(pod)
        assert isinstance(outcome, Placement)
        chosen[outcome.node] += 1
    assert sorted(chosen) == sorted(f"n{number}" for number in range(3, NODES, 3))
    assert max(chosen.values()) < 2 * min(chosen.values())


def test_classes_that_ask_the_same_of_nodes_share_their_totals() -> None:
    core = Core(5)
    classes: list[PodClass] = []
    for number, shape in enumerate(SHAPES[:4]):
        pod = make_pod(random.Random(1), number, shape)
        classes.append(core.decider.pod_class(pod))
    assert len({id(one.totals) for one in classes}) == 1
