"""What upstream's managers answered to seeded machines and pods: ours choose the same NUMA nodes.

Each line of a file is one case, recorded from upstream's own code.
"""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from kubelet_pods import container, pod

from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.cpus.checkpoint import State as CpuState
from kybern.kubelet.cpus.cpuset import shown
from kybern.kubelet.cpus.options import parse_options
from kybern.kubelet.cpus.share import CpuShare, pod_cpus
from kybern.kubelet.cpus.static import static_policy
from kybern.kubelet.cpus.topology import Place, Topology
from kybern.kubelet.devices.plugins import Plugin
from kybern.kubelet.devices.share import device_hints
from kybern.kubelet.memory import checkpoint
from kybern.kubelet.memory.pinning import begin_with
from kybern.kubelet.memory.share import MemoryShare, release
from kybern.kubelet.memory.tables import Block, State
from kybern.kubelet.topology.aligning import Policy
from kybern.kubelet.topology.hints import Hint, Hints, mask_of
from kybern.kubelet.topology.manager import in_order
from kybern.kubelet.topology.numa import NumaNode
from kybern.kubelet.topology.options import Options

Obj = dict[str, Any]
RECORDED = Path(__file__).with_name("recorded")


def cases(name: str) -> list[Any]:
    lines = (RECORDED / f"{name}.jsonl").read_bytes().splitlines()
    return [pytest.param(orjson.loads(line), id=str(at)) for at, line in enumerate(lines)]


def hint(told: Obj) -> Hint:
    return Hint(None if told["nodes"] is None else mask_of(told["nodes"]), told["preferred"])


def hints(told: Obj | None) -> Hints:
    return {
        resource: None if each is None else [hint(one) for one in each]
        for resource, each in (told or {}).items()
    }


@pytest.mark.parametrize("case", cases("merging"))
def test_hints_are_merged_alike(case: Obj) -> None:
    nodes = {node: NumaNode(dict(enumerate(case["distances"][node])), 0) for node in case["nodes"]}
    policy = Policy(case["policy"], Options(closest=case["closest"]), nodes)
    best, admitted = policy.merge([hints(told) for told in case["hints"]])
    assert (best, admitted) == (hint(case["best"]), case["admit"])


@pytest.mark.parametrize("case", cases("devices"))
def test_devices_are_found_near_the_same_nodes(case: Obj) -> None:
    async def found() -> list[Hint]:
        plugin = Plugin("example.com/device", Path("/nowhere"))
        plugin.nodes = {device: nodes for device, nodes in case["devices"].items() if nodes}
        return device_hints(plugin, case["available"], case["lent"], case["count"], case["nodes"])

    assert asyncio.run(found()) == [hint(told) for told in case["hints"]]


def asking(each: Obj) -> Obj:
    amounts = {"cpu": each.get("cpu", "100m"), "memory": str(each.get("memory", 2**30))}
    if "pages" in each:
        amounts["hugepages-2Mi"] = str(each["pages"])
    again = {"restartPolicy": "Always"} if each.get("sidecar") else {}
    return container(each["name"], resources={"requests": amounts, "limits": amounts}, **again)


def pod_of(step: Obj) -> Obj:
    containers = [asking(each) for each in step["containers"]]
    inits = step["inits"]
    made = pod(*containers[inits:], init=tuple(containers[:inits]))
    made["metadata"]["uid"] = step["pod"]
    return made


async def kept() -> None:
    """Nothing is written down here."""


@pytest.mark.parametrize("case", cases("cpus"))
async def test_cpus_are_found_and_taken_on_the_same_nodes(case: Obj) -> None:
    sockets, nodes, cores, threads = case["machine"]
    whole = sockets * nodes * cores
    places = {
        cpu: Place(cpu % whole, cpu % whole // cores // nodes, cpu % whole // cores, 0)
        for cpu in range(whole * threads)
    }
    policy = static_policy(Topology(places), parse_options(case["options"]), 1000, frozenset())
    state = policy.check(CpuState())
    for step in case["steps"]:
        if "release" in step:
            if step["release"] in state.assignments:
                policy.release(state, step["release"])
            continue
        made = pod_of(step)
        share = CpuShare(policy, state, made, kept)
        if case["podScope"]:
            # A pod that wants none has no share of them.
            assert (share.pod_hints() if pod_cpus(made) else {}) == hints(step["podHints"])
        refusal = None
        for each, told in zip(in_order(made), step["given"], strict=False):
            affinity = step["affinity"] if case["podScope"] else told["affinity"]
            if not case["podScope"]:
                assert share.hints(each) == hints(told["hints"])
            there = None if affinity is None else mask_of(affinity)
            refusal = await share.give(each, Hint(there, preferred=False))
            if refusal is None:
                given = state.assignments.get(step["pod"], {}).get(told["name"], ())
                assert shown(given) == told["cpus"]
        assert step["outcome"] in (refusal.message if refusal else "")
        assert bool(step["outcome"]) == (refusal is not None)
        if refusal is not None:
            share.take_back()
        assert shown(state.shared) == step["shared"]


class MemoryReplay:
    """One recorded machine with a topology policy, and what its pods were given."""

    def __init__(self, case: Obj) -> None:
        nodes = {
            number: NumaNode({}, told["memory"], {2**21: told["pages"]} if "pages" in told else {})
            for number, told in enumerate(case["machine"])
        }
        reserved = {number: told["reserved"] for number, told in enumerate(case["machine"])}
        self.state = begin_with(State(), nodes, reserved)
        self._policy = (
            None if case["policy"] == "none" else Policy(case["policy"], Options(), nodes)
        )
        self._whole = case["podScope"]

    async def admit(self, step: Obj) -> None:
        made = pod_of(step)
        share = MemoryShare(self.state, made, kept)
        best, admitted, refusal = Hint(None, False), True, None
        if self._policy is not None and self._whole:
            assert share.pod_hints() == hints(step["podHints"])
            best, admitted = self._merge(hints(step["podHints"]), step["other"])
        for each, told in zip(in_order(made), step["given"], strict=False):
            if self._policy is not None and not self._whole:
                assert share.hints(each) == hints(told["hints"])
                best, admitted = self._merge(hints(told["hints"]), told["other"])
            if not admitted:
                break
            assert best == hint(told["affinity"])
            refusal = await share.give(each, best)
            if refusal is None:
                blocks = self.state.assignments[step["pod"]][told["name"]]
                assert blocks == [
                    Block(tuple(one["numaAffinity"]), one["type"], one["size"])
                    for one in told["blocks"]
                ]
        self._judge(step, admitted, refusal)
        if step["outcome"]:
            share.take_back()
        elif step.get("initsEnd"):
            ended = (c["name"] for c in made["spec"]["initContainers"] if "restartPolicy" not in c)
            release(self.state, step["pod"], tuple(ended))

    def _merge(self, mine: Hints, other: Obj | None) -> tuple[Hint, bool]:
        assert self._policy is not None
        return self._policy.merge([mine] if other is None else [mine, hints(other)])

    def _judge(self, step: Obj, admitted: bool, refusal: Refusal | None) -> None:
        if step["outcome"] == "affinity":
            assert not admitted
        else:
            assert admitted
            assert step["outcome"] in (refusal.message if refusal else "")
            assert bool(step["outcome"]) == (refusal is not None)


@pytest.mark.parametrize("case", cases("memory"))
async def test_memory_is_found_and_booked_on_the_same_nodes(case: Obj, tmp_path: Path) -> None:
    replay = MemoryReplay(case)
    for step in case["steps"]:
        if "release" in step:
            release(replay.state, step["release"])
        else:
            await replay.admit(step)
    told = orjson.loads(case["file"])
    # The order in a container's blocks is the order of a Go map.
    for given in told.get("entries", {}).values():
        for blocks in given.values():
            blocks.sort(key=lambda block: block["type"], reverse=True)
    checkpoint.save(tmp_path, "Static", replay.state)
    written = orjson.loads((tmp_path / "memory_manager_state").read_bytes())
    assert written["machineState"] == told["machineState"]
    assert written.get("entries") == told.get("entries")
    (tmp_path / "memory_manager_state").write_text(case["file"])
    assert checkpoint.restore(tmp_path, "Static").machine == replay.state.machine
