"""Tables: what ``kubectl get`` prints."""

from typing import Any

import pytest

from kybern.api.ages import human_duration
from kybern.api.errors import Obj
from kybern.api.kinds import builtin_registry
from kybern.api.objects import epoch
from kybern.api.table import render

REGISTRY = builtin_registry()
CREATED = "2026-01-01T00:00:00Z"
NOW = epoch(CREATED) + 3700


def cells(group: str, plural: str, obj: Obj, version: str = "v1") -> dict[str, Any]:
    kind = REGISTRY.lookup(group, version, plural)
    assert kind is not None
    obj.setdefault("metadata", {}).setdefault("creationTimestamp", CREATED)
    obj["metadata"].setdefault("name", "x")
    table = render(kind, [obj], now=NOW)
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (700, "11m"),
        (3 * 3600, "3h"),
        (7 * 3600 + 60, "7h1m"),
        (40 * 3600, "40h"),
        (49 * 3600, "2d1h"),
        (100 * 86400, "100d"),
        (3 * 365 * 86400 + 86400, "3y1d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


def container(name: str, ready: bool = False, restarts: int = 0, **state: Any) -> Obj:
    return {"name": name, "ready": ready, "restartCount": restarts, **state}


RUNNING = {"state": {"running": {}}}
CRASHED = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}


@pytest.mark.parametrize(
    ("spec", "status", "meta", "ready", "shown"),
    [
        ({}, {"phase": "Pending"}, {}, "0/1", "Pending"),
        (
            {},
            {"phase": "Running", "containerStatuses": [container("a", True, **RUNNING)]},
            {},
            "1/1",
            "Running",
        ),
        (
            {},
            {"phase": "Running", "containerStatuses": [container("a", **CRASHED)]},
            {},
            "0/1",
            "CrashLoopBackOff",
        ),
        (
            {},
            {
                "phase": "Failed",
                "containerStatuses": [container("a", state={"terminated": {"exitCode": 3}})],
            },
            {},
            "0/1",
            "ExitCode:3",
        ),
        (
            {"initContainers": [{"name": "i"}, {"name": "j"}]},
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    container("i", state={"terminated": {"exitCode": 0}}),
                    container("j", state={"running": {}}),
                ],
            },
            {},
            "0/1",
            "Init:1/2",
        ),
        (
            {"initContainers": [{"name": "i", "restartPolicy": "Always"}]},
            {
                "phase": "Running",
                "initContainerStatuses": [container("i", True, started=True, **RUNNING)],
                "containerStatuses": [container("a", True, **RUNNING)],
            },
            {},
            "2/2",
            "Running",
        ),
        ({}, {"phase": "Running"}, {"deletionTimestamp": CREATED}, "0/1", "Terminating"),
        ({}, {"phase": "Failed", "reason": "Evicted"}, {}, "0/1", "Evicted"),
    ],
)
def test_a_pods_status_says_what_ails_it(
    spec: Obj, status: Obj, meta: Obj, ready: str, shown: str
) -> None:
    pod = {"metadata": meta, "spec": {"containers": [{"name": "a"}], **spec}, "status": status}
    row = cells("", "pods", pod)
    assert (row["Ready"], row["Status"]) == (ready, shown)


def test_restarts_say_how_long_ago_the_last_one_was() -> None:
    ended = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T01:00:00Z"}}
    status = container("a", True, 4, lastState=ended, **RUNNING)
    pod = {"spec": {"containers": [{"name": "a"}]}, "status": {"containerStatuses": [status]}}
    assert cells("", "pods", pod)["Restarts"] == "4 (100s ago)"


def test_services_show_their_addresses_and_ports() -> None:
    service = {
        "spec": {
            "type": "LoadBalancer",
            "clusterIPs": ["10.96.0.5"],
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
        }
    }
    row = cells("", "services", service)
    assert row["External-IP"] == "<pending>"
    assert row["Port(s)"] == "80:30080/TCP"
    assert row["Age"] == "61m"


def test_nodes_show_readiness_and_roles() -> None:
    node = {
        "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    row = cells("", "nodes", node)
    assert (row["Status"], row["Roles"]) == ("Ready,SchedulingDisabled", "control-plane")
    assert row["Internal-IP"] == "<none>"


def test_jobs_show_their_progress() -> None:
    job = {
        "spec": {"completions": 3},
        "status": {"succeeded": 1, "startTime": "2026-01-01T01:00:00Z"},
    }
    row = cells("batch", "jobs", job)
    assert (row["Status"], row["Completions"], row["Duration"]) == ("Running", "1/3", "100s")


def test_every_kind_renders_an_object_with_nothing_but_a_name() -> None:
    rendered = 0
    for kind in REGISTRY.kinds():
        served = REGISTRY.served(kind)[0]
        bare = {"metadata": {"name": "x", "creationTimestamp": CREATED}}
        row = render(served, [bare], now=NOW)["rows"][0]
        assert len(row["cells"]) >= 2, kind
        for select in kind.selectable_fields.values():
            assert isinstance(select(bare), str)
        rendered += 1
    assert rendered > 50
