"""Who gets memory on which NUMA nodes, where the policy is Static, and what a kubelet remembers."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from kubelet_pods import container, pod

from kybern.component.clock import Clock
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.cri.client import cri
from kybern.kubelet.cri.container_config import container_config
from kybern.kubelet.devices.access import Access
from kybern.kubelet.memory import checkpoint
from kybern.kubelet.memory.manager import make_memory_manager
from kybern.kubelet.memory.pinning import PinningMemoryManager, begin_with
from kybern.kubelet.memory.reserved import add_up, kept_in_all, parse_reservations
from kybern.kubelet.memory.tables import Block, State, new_machine
from kybern.kubelet.node.machine import memory_info
from kybern.kubelet.topology.manager import TopologyManager
from kybern.kubelet.topology.numa import NumaNode, read_nodes

Obj = dict[str, Any]
GIB, MIB = 2**30, 2**20
NODES = {number: NumaNode({}, 4 * GIB, {2 * MIB: 256}) for number in (0, 1)}


def wants(memory: str, name: str = "main", pages: str = "", **fields: Any) -> Obj:
    amounts = {"cpu": "100m", "memory": memory, **({"hugepages-2Mi": pages} if pages else {})}
    return container(name, resources={"requests": amounts, "limits": amounts}, **fields)


def manager(root: Path) -> PinningMemoryManager:
    return PinningMemoryManager(root, NODES, {0: {"memory": GIB}})


async def admit(memory: PinningMemoryManager, made: Obj) -> Refusal | None:
    return await TopologyManager([memory], Clock()).give(made)


def on_disk(root: Path) -> Obj:
    document: Obj = orjson.loads((root / "memory_manager_state").read_bytes())
    return document


def free(root: Path, resource: str = "memory") -> list[int]:
    nodes = on_disk(root)["machineState"]
    return [nodes[number]["memoryMap"][resource]["free"] // MIB for number in ("0", "1")]


async def test_memory_and_huge_pages_of_guaranteed_pods_are_kept_on_few_nodes(
    tmp_path: Path,
) -> None:
    memory = manager(tmp_path)
    # Huge pages take half a gibibyte of each node's memory, the reservation one of the first's.
    assert (free(tmp_path), free(tmp_path, "hugepages-2Mi")) == ([2560, 3584], [512, 512])
    made = pod(wants("3Gi", pages="64Mi"), wants("1Gi", "other"))
    assert await admit(memory, made) is None
    assert [memory.nodes("u1", name) for name in ("main", "other", "none")] == ["1", "0", ""]
    assert (free(tmp_path), free(tmp_path, "hugepages-2Mi")) == ([1536, 512], [512, 448])
    again = manager(tmp_path)
    assert await admit(again, made) is None
    assert (again.pods(), again.nodes("u1", "main")) == ({"u1"}, "1")
    await again.release("u1")
    assert (free(tmp_path), again.pods()) == ([2560, 3584], set())
    assert on_disk(tmp_path).get("entries") is None


async def test_what_no_node_holds_lies_on_a_group_that_is_given_away_as_one(
    tmp_path: Path,
) -> None:
    memory = manager(tmp_path)
    assert await admit(memory, pod(wants("5Gi"))) is None
    assert memory.nodes("u1", "main") == "0,1"
    small, large = pod(wants("512Mi")), pod(wants("1Gi"))
    small["metadata"]["uid"], large["metadata"]["uid"] = "u2", "u3"
    assert await admit(memory, small) is None
    assert memory.nodes("u2", "main") == "0,1"
    assert await admit(memory, large) == Refusal(
        "UnexpectedAdmissionError",
        "Allocate failed due to [memorymanager] failed to get the default NUMA affinity, "
        "no NUMA nodes with enough memory is available, which is unexpected",
    )
    assert memory.pods() == {"u1", "u2"}


@pytest.mark.parametrize(
    "made",
    [
        pod(container(resources={"requests": {"memory": "1Gi"}})),
        pod(container()),
        pod(wants("1Gi"), resources={"limits": {"cpu": "1", "memory": "1Gi"}}),
    ],
)
async def test_other_pods_have_their_memory_anywhere(tmp_path: Path, made: Obj) -> None:
    memory = manager(tmp_path)
    assert await admit(memory, made) is None
    assert (memory.pods(), memory.nodes("u1", "main")) == (set(), "")


async def test_init_containers_lend_their_memory_and_give_back_the_rest(tmp_path: Path) -> None:
    memory = manager(tmp_path)
    made = pod(wants("1Gi"), init=(wants("2Gi", "first"),))
    assert await admit(memory, made) is None
    # The container has half of it again.
    assert free(tmp_path) == [512, 3584]
    (block,) = on_disk(tmp_path)["entries"]["u1"]["first"]
    assert block == {"numaAffinity": [0], "type": "memory", "size": GIB}
    await memory.begins(made, made["spec"]["initContainers"][0])
    assert free(tmp_path) == [512, 3584]
    await memory.begins(made, made["spec"]["containers"][0])
    assert (free(tmp_path), memory.nodes("u1", "first")) == ([1536, 3584], "")
    # A kubelet that starts again gives an init container that has ended nothing.
    assert await admit(manager(tmp_path), made) is None
    assert free(tmp_path) == [1536, 3584]


async def test_memory_that_cannot_be_written_down_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = manager(tmp_path)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", full)
        with pytest.raises(OSError, match="no space"):
            await admit(memory, pod(wants("1Gi")))
    assert memory.pods() == set()
    assert await admit(memory, pod(wants("1Gi"))) is None
    assert manager(tmp_path).pods() == {"u1"}


def test_a_guaranteed_pod_keeps_its_memory(tmp_path: Path) -> None:
    judge = manager(tmp_path).judge_resize
    assert judge(pod(wants("1Gi")), pod(wants("2Gi"))) == Refusal(
        "Infeasible",
        'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"',
    )
    assert judge(pod(wants("1Gi")), pod(wants("1Gi"))) is None


def test_the_runtime_is_told_of_the_nodes() -> None:
    made = pod(wants("1Gi"))
    config = container_config(
        made,
        made["spec"]["containers"][0],
        attempt=0,
        image_ref="img",
        environment={},
        mounts=(),
        access=Access(),
        security=cri.LinuxContainerSecurityContext(),
        memory_capacity=GIB,
        memory_nodes="0,1",
        unified={},
    )
    assert config.linux.resources.cpuset_mems == "0,1"


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (
            ("0=memory",),
            "the reserved memory has incorrect format, expected "
            "numaNodeID:type=quantity[,type=quantity...], got 0=memory",
        ),
        (("a:memory=1Gi",), "failed to convert the NUMA node ID, expected integer, got a"),
        (
            ("0:memory",),
            "the reserved limit has incorrect value, expected type=quantity, got memory",
        ),
        (("0:cpu=1",), 'memory type conversion error, unknown type: "cpu"'),
        (("0:memory=much",), "failed to parse the quantity: much"),
        (
            ("0:memory=0",),
            "invalid configuration: reserved memory may not be zero for NUMA node 0 "
            'and resource "memory"',
        ),
        (
            ("0:memory=1Gi", "1:memory=1Gi", "0:memory=2Gi"),
            "invalid configuration: the reserved memory has a duplicate value for NUMA node 0 "
            'and resource "memory"',
        ),
    ],
)
def test_reservations_that_make_no_sense_are_refused(
    entries: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(BadFlag) as refused:
        parse_reservations(entries)
    assert str(refused.value) == problem


@pytest.mark.parametrize(
    "entries",
    [
        ("0:memory=1Gi,hugepages-2Mi=64Mi", "1:memory=2Gi"),
        # As the parser of flags hands them on, which splits at commas.
        ("0:memory=1Gi", "hugepages-2Mi=64Mi", "1:memory=2Gi"),
        ("0:memory=1Gi,hugepages-2Mi=64Mi;1:memory=2Gi",),
    ],
)
def test_reservations_are_read_in_every_form(entries: tuple[str, ...]) -> None:
    shown = {
        number: {resource: str(limit) for resource, limit in limits.items()}
        for number, limits in parse_reservations(entries).items()
    }
    assert shown == {0: {"memory": "1Gi", "hugepages-2Mi": "64Mi"}, 1: {"memory": "2Gi"}}


def test_reservations_have_to_add_up_to_what_is_kept() -> None:
    config = Config(kube_reserved=("memory=512Mi", "cpu=1"), system_reserved=("memory=400Mi",))
    kept = kept_in_all(config, 8 * GIB)
    assert {resource: str(size) for resource, size in kept.items()} == {"memory": "1012Mi"}
    fitting = parse_reservations(("0:memory=500Mi", "1:memory=512Mi"))
    assert add_up(fitting, NODES, kept) == {0: {"memory": 500 * MIB}, 1: {"memory": 512 * MIB}}
    with pytest.raises(BadFlag) as refused:
        add_up(parse_reservations(("0:memory=1Gi",)), NODES, kept)
    assert str(refused.value) == (
        'the total amount "1Gi" of type "memory" is not equal to the value "1012Mi" '
        "determined by Node Allocatable feature"
    )
    with pytest.raises(BadFlag, match="references a NUMA node 2 that does not exist"):
        add_up(parse_reservations(("2:memory=1Gi",)), NODES, kept)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"memory_manager_policy": "Dynamic"}, 'unknown policy: "Dynamic"'),
        (
            {"memory_manager_policy": "BestEffort"},
            'policy "BestEffort" is not available for platform "linux"',
        ),
        (
            {"memory_manager_policy": "Static"},
            'the total amount "0" of type "memory" is not equal to the value "100Mi" '
            "determined by Node Allocatable feature",
        ),
        (
            {"memory_manager_policy": "Static", "eviction_hard": ()},
            "[memorymanager] you should specify the system reserved memory",
        ),
        ({"reserved_memory": ("0:memory",)}, "the reserved limit has incorrect value"),
    ],
)
def test_policies_that_make_no_sense_are_refused(
    tmp_path: Path, fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BadFlag, match=re.escape(problem)):
        make_memory_manager(Config(root_dir=str(tmp_path), **fields))


def test_this_machine_can_keep_memory(tmp_path: Path) -> None:
    made = make_memory_manager(
        Config(
            root_dir=str(tmp_path),
            memory_manager_policy="Static",
            eviction_hard=("memory.available<1%",),
            reserved_memory=(f"0:memory={memory_info()['MemTotal'] // 100}",),
        )
    )
    assert made.pods() == set()
    assert len(on_disk(tmp_path)["machineState"]) == len(read_nodes())


def test_a_file_of_another_policy_is_refused(tmp_path: Path) -> None:
    none = Config(root_dir=str(tmp_path))
    make_memory_manager(none)
    make_memory_manager(none)
    assert checkpoint.restore(tmp_path, "None") == State()
    with pytest.raises(BadFlag) as refused:
        manager(tmp_path)
    file = tmp_path / "memory_manager_state"
    assert str(refused.value) == (
        'could not restore state from checkpoint: [memorymanager] configured policy "Static" '
        'differs from state checkpoint policy "None", please drain this node and delete the '
        f'memory manager checkpoint file "{file}" before restarting Kubelet'
    )
    file.unlink()
    manager(tmp_path)
    with pytest.raises(BadFlag, match='"None" differs from state checkpoint policy "Static"'):
        make_memory_manager(none)


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b'{"policyName":"Static","machineState":{},"checksum":1}',
        b'{"policyName":"Static","machineState":{"0":{}}}',
        b'{"policyName":"Static","entries":{"u":1}}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "memory_manager_state").write_bytes(text)
    with pytest.raises(BadFlag, match="checkpoint is corrupted, please drain this node"):
        checkpoint.restore(tmp_path, "Static")


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (
            State({}, {"u": {"c": [Block((0,), "memory", 1)]}}),
            "machine state can not be empty when it has memory assignments",
        ),
        (
            State(new_machine(NODES, {}), {"u": {"c": [Block((7,), "memory", 1)]}}),
            "(pod: u, container: c) the memory assignment uses the NUMA that does not exist",
        ),
        (
            State(new_machine(NODES, {}), {"u": {"c": [Block((0,), "hugepages-1Gi", 1)]}}),
            "(pod: u, container: c) the memory assignment uses memory resource that does not exist",
        ),
        (
            State(new_machine(NODES, {0: {"memory": GIB}})),
            "the expected machine state is different from the real one",
        ),
        (
            State(new_machine(NODES, {}), {"u": {"c": [Block((0,), "memory", 1)]}}),
            "the expected machine state is different from the real one",
        ),
    ],
)
def test_a_state_that_does_not_fit_the_machine_is_refused(state: State, problem: str) -> None:
    with pytest.raises(BadFlag, match=re.escape(f"[memorymanager] {problem}")):
        begin_with(state, NODES, {})
