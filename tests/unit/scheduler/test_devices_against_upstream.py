"""Devices are given out as kube-scheduler 1.36 gave them on random clusters.

Each table in ``recorded_devices/`` is one cluster: nodes, classes, slices of two drivers, and pods
with a claim each, with the nodes that could serve it, their scores, the node that was taken and the
allocation there, or the message; claims and pods that left are named.
"""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_columns_against_upstream import Replay

from kybern.component.clock import Clock
from kybern.scheduler.devices.requests import AllocationError
from kybern.scheduler.plugins.dynamic_resources import DynamicResources
from kybern.scheduler.plugins.volume_filter import VolumePlan
from kybern.scheduler.promises import promise_of

Obj = dict[str, Any]

TABLES = sorted((Path(__file__).parent / "recorded_devices").glob("*.jsonl"))


class DeviceReplay(Replay):
    """A recorded cluster with devices."""

    def add(self, kind: str, obj: Obj) -> None:
        storage = self.cluster.storage
        match kind:
            case "device_class":
                storage.device_class_changed(None, obj)
            case "resource_slice":
                storage.resource_slice_changed(None, obj)
            case "resource_claim":
                storage.resource_claim_changed(None, obj)
            case _:
                super().add(kind, obj)

    def judge(self, case: Obj) -> None:
        if case.get("message", "").startswith("running"):
            # Whichever node is the first to find that the claim makes no sense.
            with pytest.raises(AllocationError) as raised:
                self.decider.decide(case["pod"])
            device = re.compile(r"device \S+")
            assert device.sub("", str(raised.value)) == device.sub("", case["message"])
            return
        if "node" in case:
            # Before the pod is placed, which the judgement ends with.
            self._compare_devices(case["pod"], case["node"], case["allocation"])
        super().judge(case)
        if "node" in case:
            name = case["pod"]["spec"]["resourceClaims"][0]["resourceClaimName"]
            claim = self.cluster.storage.resource_claims[f"default/{name}"]
            status = {"allocation": case["allocation"]}
            self.cluster.storage.resource_claim_changed(claim, {**claim, "status": status})

    def gone(self, name: str) -> None:
        claim = self.cluster.storage.resource_claims[f"default/{name}"]
        self.cluster.storage.resource_claim_changed(claim, None)

    def _compare_devices(self, pod: Obj, node: str, recorded: Obj) -> None:
        plugin = self.decider.profile.by_name["DynamicResources"]
        assert isinstance(plugin, DynamicResources)
        plan = plugin.plan(pod, self.cluster.nodes.rows[node])
        (claim,) = promise_of(VolumePlan(), plan, node, Clock()).resource_claims
        found = claim["status"]["allocation"]
        for result in found["devices"]["results"]:
            if "shareID" in result:
                result["shareID"] = "shared"
        assert found == recorded


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_allocations_equal_the_recorded_ones(table: Path) -> None:
    _, *lines = map(orjson.loads, table.read_bytes().splitlines())
    replay = DeviceReplay({})
    for line in lines:
        if "add" in line:
            replay.add(line["add"], line["object"])
        elif "remove" in line:
            replay.cluster.remove(line["remove"])
        elif "gone" in line:
            replay.gone(line["gone"])
        else:
            replay.judge(line)


def test_there_are_tables() -> None:
    assert len(TABLES) == 7
