"""The example of a plugin in a package of its own, found through its entry point."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_decision import Core, node, pod

from kybern.scheduler.configuration import ConfigurationError, ProfileSettings, load
from kybern.scheduler.plugins import registry

EXAMPLE = Path(__file__).parents[3] / "examples" / "scheduler_plugin"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ProfileSettings]:
    """The example as if it were installed: its metadata and its module are on the path."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "frugal_scheduling-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: frugal\nVersion: 1.0\n")
    lines = [f"[{registry.ENTRY_POINTS}]"]
    found = project["entry-points"][registry.ENTRY_POINTS]
    lines += [f"{name} = {target}" for name, target in found.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    registry.installed.cache_clear()
    yield load((EXAMPLE / "scheduler.yaml").read_bytes()).profiles[0]
    registry.installed.cache_clear()


def labelled(name: str, **labels: str) -> dict[str, object]:
    made = node(name)
    made["metadata"]["labels"] |= {f"example.com/{key}": value for key, value in labels.items()}
    return made


def test_the_plugin_filters_by_one_node_and_scores_all(settings: ProfileSettings) -> None:
    cents = "cents-per-hour"
    core = Core(
        labelled("gone", leaving="soon", **{cents: "1"}),
        labelled("cheap", **{cents: "2"}),
        labelled("dear", **{cents: "90"}),
        settings=settings,
    )
    assert [core.decide(pod(f"p{i}")) for i in range(5)] == ["cheap"] * 5
    assert core.decide(pod("vital", priority=1000)) == "gone"
    core.cluster.set_node(labelled("cheap", leaving="now", **{cents: "2"}))
    core.cluster.set_node(labelled("dear", leaving="now", **{cents: "90"}))
    reason = "0/3 nodes are available: 3 node(s) were about to leave."
    assert core.decide(pod("late")) == reason


def test_a_plugin_that_nobody_installed_is_an_error() -> None:
    text = b"""
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
percentageOfNodesToScore: 30
profiles:
- plugins: {multiPoint: {enabled: [{name: Nowhere}]}}
"""
    (profile,) = load(text).profiles
    assert profile.percentage == 30
    with pytest.raises(ConfigurationError, match="no such plugin: Nowhere"):
        Core(settings=profile)
