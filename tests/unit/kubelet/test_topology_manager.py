"""Pods whose CPUs, memory and devices have to be near each other, and how the nodes are found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kubelet_pods import container, pod
from prometheus_client import REGISTRY

from kybern.component.clock import Clock
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.cpus.pinning import PinningManager
from kybern.kubelet.cpus.topology import Place, Topology
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.devices.manager import DeviceManager
from kybern.kubelet.devices.plugins import Plugin, Plugins
from kybern.kubelet.memory.pinning import PinningMemoryManager
from kybern.kubelet.paths import Paths
from kybern.kubelet.topology.aligning import AligningManager, Policy
from kybern.kubelet.topology.manager import TopologyManager, make_topology_manager
from kybern.kubelet.topology.numa import NumaNode, read_nodes
from kybern.kubelet.topology.options import Options, parse_options

Obj = dict[str, Any]
GIB = 2**30
CARD = "example.com/card"
NODES = {number: NumaNode({0: 10, 1: 20}, 4 * GIB) for number in (0, 1)}
TOO_FAR = Refusal("TopologyAffinityError", "Resources cannot be allocated with Topology locality")


class Host:
    """A machine of two nodes with four CPUs, 4Gi and two cards each; CPU 0 and 1Gi are kept."""

    def __init__(self, root: Path, policy: str = "none", scope: str = "container") -> None:
        places = {cpu: Place(cpu, cpu // 4, cpu // 4, cpu // 4) for cpu in range(8)}
        config = Config(
            root_dir=str(root), cpu_manager_policy="static", kube_reserved=("cpu=500m",)
        )
        self.cpus = PinningManager(
            config, Topology(places), frozenset(), Runtime("unix:///nowhere")
        )
        self.memory = PinningMemoryManager(root, NODES, {0: {"memory": GIB}})
        self.plugins = Plugins(root)
        self.plugins.numa_nodes = (0, 1)
        self.devices = DeviceManager(self.plugins, Paths(root))
        providers = (self.devices, self.cpus, self.memory)
        self.topology = TopologyManager(providers, Clock())
        if policy != "none":
            judge = Policy(policy, Options(), NODES)
            self.topology = AligningManager(providers, Clock(), judge, scope)

    def offer(self, nodes: dict[str, list[int]], preferred: Sequence[str] = ()) -> "Host":
        """Have a plugin with these devices, near these nodes, of which it prefers some."""
        self.plugins._found[CARD] = Cards(nodes, preferred)
        return self

    def cards(self, uid: str = "u1") -> dict[str, list[str]]:
        given = self.devices._given.get(uid, {})
        return {name: resources[CARD] for name, resources in given.items()}


class Cards(Plugin):
    """A plugin without a process."""

    def __init__(self, nodes: dict[str, list[int]], preferred: Sequence[str]) -> None:
        self.resource = CARD
        self.devices = dict.fromkeys(nodes, True)
        self.nodes = {device: there for device, there in nodes.items() if there}
        self.asked: list[tuple[list[str], list[str], int]] = []
        self._preferred = preferred

    async def prefer(self, available: list[str], taken: list[str], count: int) -> list[str]:
        self.asked.append((available, taken, count))
        return list(self._preferred)


def cards() -> dict[str, list[int]]:
    return {"a": [0], "b": [0], "c": [1], "d": [1]}


def wants(cpu: str, memory: str, count: int = 0, name: str = "main", **fields: Any) -> Obj:
    amounts = {"cpu": cpu, "memory": memory}
    if count:
        amounts[CARD] = str(count)
    return container(name, resources={"requests": amounts, "limits": amounts}, **fields)


def told(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"kubelet_{name}", labels) or 0


async def test_all_that_a_container_gets_is_on_one_node(tmp_path: Path) -> None:
    host = Host(tmp_path, "single-numa-node").offer({"a": [0], "c": [1], "d": [1]})
    before = told("topology_manager_admission_requests_total")
    aligned = {"scope": "container", "boundary": "numa_node"}
    counted = told("container_aligned_compute_resources_count", **aligned)
    assert await host.topology.give(pod(wants("2", "3Gi", 2))) is None
    assert host.cards() == {"main": ["c", "d"]}
    assert (host.cpus.cpuset("u1", "main"), host.memory.nodes("u1", "main")) == ("4-5", "1")
    assert told("topology_manager_admission_requests_total") == before + 1
    assert told("container_aligned_compute_resources_count", **aligned) == counted + 1


@pytest.mark.parametrize("policy", ["restricted", "single-numa-node"])
@pytest.mark.parametrize("scope", ["container", "pod"])
async def test_what_is_on_no_node_together_is_refused_and_leaves_nothing(
    tmp_path: Path, policy: str, scope: str
) -> None:
    host = Host(tmp_path, policy, scope).offer({"a": [0], "b": [0]})
    before = told("topology_manager_admission_errors_total")
    # Node 0 has two cards, but one of its CPUs is reserved.
    assert await host.topology.give(pod(wants("4", "1Gi", 2))) == TOO_FAR
    assert told("topology_manager_admission_errors_total") == before + 1
    assert (host.cards(), host.cpus.pods(), host.memory.pods()) == ({}, set(), set())
    assert await host.topology.give(pod(wants("3", "1Gi", 2))) is None
    assert (host.cpus.cpuset("u1", "main"), host.memory.nodes("u1", "main")) == ("1-3", "0")


async def test_best_effort_gives_what_there_is(tmp_path: Path) -> None:
    host = Host(tmp_path, "best-effort").offer({"a": [0], "b": [0]})
    assert await host.topology.give(pod(wants("4", "1Gi", 2))) is None
    assert (host.cards(), host.cpus.cpuset("u1", "main")) == ({"main": ["a", "b"]}, "1-4")


async def test_a_refusal_takes_back_what_earlier_containers_got(tmp_path: Path) -> None:
    host = Host(tmp_path, "single-numa-node").offer(cards())
    refusal = await host.topology.give(
        pod(wants("3", "1Gi", 2, "one"), wants("4", "1Gi", 1, "two"), wants("1", "1Gi", 2, "last"))
    )
    assert refusal == TOO_FAR
    assert (host.cards(), host.cpus.pods(), host.memory.pods()) == ({}, set(), set())
    assert host.cpus.cpuset("other", "main") == "0-7"


async def test_the_scope_pod_keeps_its_containers_together(tmp_path: Path) -> None:
    apart = pod(wants("2", "1Gi", name="one"), wants("3", "1Gi", name="two"))
    by_container = Host(tmp_path / "a", "single-numa-node")
    assert await by_container.topology.give(apart) is None
    assert by_container.memory.nodes("u1", "one") == "0"
    assert by_container.memory.nodes("u1", "two") == "1"
    by_pod = Host(tmp_path / "b", "single-numa-node", "pod")
    assert await by_pod.topology.give(apart) == TOO_FAR
    together = pod(wants("2", "1Gi", name="one"), wants("2", "1Gi", name="two"))
    assert await by_pod.topology.give(together) is None
    assert {by_pod.memory.nodes("u1", name) for name in ("one", "two")} == {"1"}


async def test_a_pod_that_runs_is_judged_by_what_it_has(tmp_path: Path) -> None:
    made = pod(wants("4", "1Gi"))
    assert await Host(tmp_path).topology.give(made) is None
    # Without a policy the CPUs were taken from one node, the memory from another.
    again = Host(tmp_path, "single-numa-node")
    had = again.cpus.cpuset("u1", "main"), again.memory.nodes("u1", "main")
    assert had == ("4-7", "0")
    assert await again.topology.give(made) == TOO_FAR
    # It keeps them until it has ended.
    assert (again.cpus.cpuset("u1", "main"), again.memory.nodes("u1", "main")) == had
    assert await Host(tmp_path, "best-effort").topology.give(made) is None


async def test_devices_near_the_nodes_go_first_and_then_those_that_the_plugin_prefers(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path, "best-effort").offer({**cards(), "e": []}, preferred=("e", "d"))
    assert await host.topology.give(pod(wants("1", "1Gi", 1))) is None
    # It may choose among the two that are near; what it names is not.
    assert host.cards() == {"main": ["a"]}
    other = pod(wants("1", "1Gi", 3))
    other["metadata"]["uid"] = "u2"
    assert await host.topology.give(other) is None
    assert host.cards("u2") == {"main": ["b", "e", "d"]}
    plugin = host.plugins.get(CARD)
    assert isinstance(plugin, Cards)
    assert plugin.asked == [(["a", "b"], [], 1), (["b", "c", "d", "e"], ["b"], 3)]


async def test_init_containers_lend_devices_and_sidecars_keep_theirs(tmp_path: Path) -> None:
    host = Host(tmp_path, "restricted").offer({"a": [0], "b": [0], "c": [1]})
    inits = (
        wants("1", "1Gi", 2, "first"),
        wants("1", "1Gi", 1, "sidecar", restartPolicy="Always"),
        wants("1", "1Gi", 1, "last"),
    )
    assert await host.topology.give(pod(wants("1", "1Gi", 1), init=inits)) is None
    expected = {"first": ["a", "b"], "sidecar": ["a"], "last": ["b"], "main": ["b"]}
    assert host.cards() == expected


@pytest.mark.parametrize(
    ("healthy", "problem"),
    [
        (
            True,
            "requested number of devices unavailable for example.com/card. "
            "Requested: 2, Available: 1",
        ),
        (
            False,
            "no healthy devices present; cannot allocate unhealthy devices example.com/card",
        ),
    ],
)
async def test_devices_that_are_not_left_refuse_a_pod(
    tmp_path: Path, healthy: bool, problem: str
) -> None:
    host = Host(tmp_path).offer({"a": []})
    plugin = host.plugins.get(CARD)
    assert plugin is not None
    plugin.devices["a"] = healthy
    refusal = await host.topology.give(pod(wants("1", "1Gi", 2)))
    assert refusal == Refusal(
        "UnexpectedAdmissionError", f"Allocate failed due to {problem}, which is unexpected"
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"fastest": "true"}, 'unknown Topology Manager Policy option: "fastest"'),
        (
            {"prefer-closest-numa-nodes": "yes"},
            'bad value for option "prefer-closest-numa-nodes": strconv.ParseBool: parsing "yes": '
            "invalid syntax",
        ),
        (
            {"max-allowable-numa-nodes": "many"},
            'unable to convert policy option to integer "max-allowable-numa-nodes": '
            'strconv.Atoi: parsing "many": invalid syntax',
        ),
        (
            {"max-allowable-numa-nodes": "7"},
            'the minimum value of "max-allowable-numa-nodes" should not be less than 8',
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str], problem: str) -> None:
    with pytest.raises(BadFlag) as refused:
        parse_options(options)
    assert str(refused.value) == problem
    known = {"prefer-closest-numa-nodes": "true", "max-allowable-numa-nodes": "16"}
    assert parse_options(known) == Options(closest=True, most_nodes=16)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"topology_manager_policy": "strict"},
            "invalid configuration: topologyManagerPolicy (--topology-manager-policy) "
            '"strict" must be one of: ["none" "best-effort" "restricted" "single-numa-node"]',
        ),
        (
            {"topology_manager_scope": "node"},
            "invalid configuration: topologyManagerScope (--topology-manager-scope) "
            '"node" must be one of: "container", or "pod"',
        ),
    ],
)
def test_policies_and_scopes_that_are_not_there_are_refused(
    fields: dict[str, str], problem: str
) -> None:
    with pytest.raises(BadFlag) as refused:
        make_topology_manager(Config(**fields), (), Clock())
    assert str(refused.value) == problem


def test_the_policy_none_reads_nothing_of_the_machine_and_the_others_do() -> None:
    assert make_topology_manager(Config(), (), Clock()).nodes == ()
    aligning = Config(
        topology_manager_policy="restricted",
        topology_manager_policy_options=("prefer-closest-numa-nodes=true",),
    )
    assert list(make_topology_manager(aligning, (), Clock()).nodes) == sorted(read_nodes())


def test_nodes_are_read_as_the_kernel_tells_of_them(tmp_path: Path) -> None:
    for number, memory in ((0, 1000), (2, 2000)):
        node = tmp_path / "node" / f"node{number}"
        pages = node / "hugepages" / "hugepages-2048kB"
        pages.mkdir(parents=True)
        (pages / "nr_hugepages").write_text(f"{number}\n")
        (node / "distance").write_text("10 21\n" if number == 0 else "21 10\n")
        (node / "meminfo").write_text(f"Node {number} MemTotal:    {memory} kB\n")
    assert read_nodes(tmp_path) == {
        0: NumaNode({0: 10, 2: 21}, 1000 * 1024, {2**21: 0}),
        2: NumaNode({0: 21, 2: 10}, 2000 * 1024, {2**21: 2}),
    }


def test_a_machine_without_nodes_has_its_sockets(tmp_path: Path) -> None:
    topology = tmp_path / "cpu" / "cpu0" / "topology"
    topology.mkdir(parents=True)
    (topology / "physical_package_id").write_text("0\n")
    assert read_nodes(tmp_path) == {0: NumaNode()}
