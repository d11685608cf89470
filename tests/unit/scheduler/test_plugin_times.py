"""What plugins judged is counted for every pod, and timed for some."""

import re

from test_decision import Core, node, pod

from kybern.component.clock import Clock
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.plugin_times import ONE_IN, PluginTimes


class Ticking(Clock):
    """Every look at it takes a second."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


class Still(Clock):
    """No time passes, however busy the machine is."""

    def monotonic(self) -> float:
        return 0.0


def test_judged_pods_and_nodes_are_counted_by_plugin() -> None:
    core = Core(node("a"), node("b"), node("c", unschedulable=True))
    for name in ("one", "two"):
        core.decide(pod(name))
    counts = core.profile.evaluations()
    about = ("NodeResourcesFit", "Filter", "default-scheduler")
    assert counts[about] == 6
    assert counts["NodeResourcesFit", "PreFilter", "default-scheduler"] == 2
    assert counts["NodePorts", "PreFilter", "default-scheduler"] == 2
    # These pods use no ports, so no node was judged by them.
    assert ("NodePorts", "Filter", "default-scheduler") not in counts


def test_one_decision_in_ten_is_timed_within_the_allowance() -> None:
    core = Core(node("a"), node("b"))
    metrics = Metrics({})
    times = PluginTimes(Still(), metrics)
    for _ in range(ONE_IN + 1):
        times.decided(core.decider, pod("one"))
    text = metrics.text().decode()
    count = 'framework_extension_point_duration_seconds_count{extension_point="Filter"'
    assert re.findall(rf"{re.escape(count)},.*}} (\d+)", text) == ["2"]
    assert 'plugin="NodeResourcesFit",extension_point="Score",status="Success"' in text


def test_a_slow_plugin_is_not_timed_again_soon() -> None:
    core = Core(node("a"), node("b"))
    metrics = Metrics({})
    times = PluginTimes(Ticking(), metrics)
    for _ in range(3 * ONE_IN):
        times.decided(core.decider, pod("one"))
    count = 'framework_extension_point_duration_seconds_count{extension_point="Filter"'
    found = re.findall(rf"{re.escape(count)},.*}} (\d+)", metrics.text().decode())
    assert found == ["1"]


def test_who_fits_nowhere_shows_who_turned_it_down() -> None:
    core = Core(node("a"), node("b"))
    metrics = Metrics({})
    PluginTimes(Clock(), metrics).decided(core.decider, pod("big", "100"))
    text = metrics.text().decode()
    assert 'plugin="NodeResourcesFit",extension_point="Filter",status="Unschedulable"' in text
    assert 'extension_point="Score"' not in text
