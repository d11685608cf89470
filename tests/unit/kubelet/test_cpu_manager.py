"""Who gets which CPUs, where the policy is static, and what a kubelet remembers of it."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from kubelet_pods import container, pod

from kybern.component.clock import Clock
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.bounds import container_bounds, pod_bounds
from kybern.kubelet.config import Config
from kybern.kubelet.cpus import checkpoint
from kybern.kubelet.cpus.assignment import NotEnough, choose
from kybern.kubelet.cpus.checkpoint import State, checksum
from kybern.kubelet.cpus.cpuset import parse, shown
from kybern.kubelet.cpus.options import Options, parse_options
from kybern.kubelet.cpus.pinning import PinningManager
from kybern.kubelet.cpus.share import CpuShare
from kybern.kubelet.cpus.static import StaticPolicy, exclusive_cpus, static_policy
from kybern.kubelet.cpus.topology import Place, Topology, read_topology
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.topology.hints import NO_HINT
from kybern.kubelet.topology.manager import TopologyManager, give_containers, in_order

Obj = dict[str, Any]
EVEN_CORES = Options(across_numa=True, full_cores=True)


def machine(sockets: int = 1, nodes: int = 1, cores: int = 4, threads: int = 2) -> Topology:
    """Threads of one core are far apart, as most machines number them; ``nodes`` per socket."""
    whole = sockets * nodes * cores
    places = {}
    for cpu in range(whole * threads):
        core = cpu % whole
        node = core // cores
        places[cpu] = Place(core, node // nodes, node, node)
    return Topology(places)


def guaranteed(cpu: str, name: str = "main", **fields: Any) -> Obj:
    amounts = {"cpu": cpu, "memory": "64Mi"}
    return container(name, resources={"requests": amounts, "limits": amounts}, **fields)


@pytest.mark.parametrize("text", ["", "0", "0-1", "0-2,5,7-9"])
def test_sets_are_read_and_written_in_the_kernels_notation(text: str) -> None:
    assert shown(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a", 'strconv.Atoi: parsing "a": invalid syntax'), ("3-1", 'invalid range "3-1" (3 > 1)')],
)
def test_what_is_no_set_of_cpus_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        parse(text)


def test_a_machine_is_read_as_its_kernel_tells_it(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "online").write_text("0-3\n")
    for cpu in range(4):
        directory = tmp_path / "cpu" / f"cpu{cpu}"
        (directory / "topology").mkdir(parents=True)
        (directory / "topology" / "thread_siblings_list").write_text(f"{cpu % 2},{cpu % 2 + 2}\n")
        (directory / "topology" / "physical_package_id").write_text("0\n")
        (directory / "cache" / "index3").mkdir(parents=True)
        (directory / "cache" / "index3" / "level").write_text("3\n")
        (directory / "cache" / "index3" / "id").write_text(f"{cpu % 2 + 7}\n")
        (directory / "cache" / "index3" / "shared_cpu_list").write_text(f"{cpu % 2},{cpu % 2 + 2}")
    (tmp_path / "node" / "node0").mkdir(parents=True)
    (tmp_path / "node" / "node0" / "cpulist").write_text("0-3\n")
    found = read_topology(tmp_path)
    assert found.places[3] == Place(core=1, socket=0, numa=0, cache=8)
    assert (found.per("core"), found.per("socket"), found.count("cache")) == (2, 4, 2)


@pytest.mark.parametrize(
    ("topology", "free", "count", "options", "taken"),
    [
        # A whole core rather than two halves; then what is left of a core that is broken up.
        (machine(), "0-7", 2, Options(), "0,4"),
        (machine(), "1-7", 1, Options(), "4"),
        (machine(), "1-7", 3, Options(), "1,4-5"),
        # A whole socket, and the rest from the other one.
        (machine(2), "0-15", 8, Options(), "0-3,8-11"),
        (machine(2), "0-15", 10, Options(), "0-4,8-12"),
        # From the socket of which less is left.
        (machine(2), "0-3,5-11,13-15", 2, Options(), "5,13"),
        # As few NUMA nodes as can give the same number each.
        (machine(1, 2, 4, 1), "0-7", 6, Options(across_numa=True), "0-2,4-6"),
        (machine(1, 2, 4, 1), "0-7", 4, Options(across_numa=True), "0-3"),
        (machine(1, 2, 4, 1), "0-7", 5, Options(across_numa=True), "0-2,4-5"),
        (machine(1, 2, 4, 1), "0-7", 6, Options(), "0-5"),
        (machine(1, 2), "0-15", 12, EVEN_CORES, "0-2,4-6,8-10,12-14"),
        # CPUs of one cache, although another node has less left.
        (machine(1, 2, 4, 1), "1-7", 4, Options(by_cache=True), "4-7"),
        (machine(1, 2, 4, 1), "0,4-7", 2, Options(by_cache=True), "4-5"),
        (machine(1, 2, 4, 1), "0,4-7", 2, Options(), "0,4"),
    ],
)  # fmt: skip
def test_cpus_that_lie_close_together_are_chosen(
    topology: Topology, free: str, count: int, options: Options, taken: str
) -> None:
    assert shown(choose(topology, parse(free), count, options)) == taken


def test_more_cpus_than_are_free_cannot_be_chosen() -> None:
    with pytest.raises(NotEnough, match="requested=3, available=2"):
        choose(machine(), parse("0-1"), 3, Options())


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (pod(guaranteed("2")), 2),
        (pod(guaranteed("1500m")), 0),
        (pod(container(resources={"requests": {"cpu": "2"}})), 0),
        (pod(container()), 0),
        (pod(guaranteed("2"), resources={"limits": {"cpu": "2", "memory": "1Gi"}}), 0),
    ],
)
def test_whole_cpus_of_guaranteed_pods_are_exclusive(made: Obj, count: int) -> None:
    assert exclusive_cpus(made, made["spec"]["containers"][0]) == count


def given(state: State, uid: str = "u1") -> dict[str, str]:
    return {name: shown(cpus) for name, cpus in state.assignments.get(uid, {}).items()}


async def give(policy: StaticPolicy, state: State, made: Obj) -> Refusal | None:
    """Give a pod its CPUs as the topology manager does."""

    async def keep() -> None:
        """Nothing is written down here."""

    share = CpuShare(policy, state, made, keep)
    refusal = await give_containers(in_order(made), [share], NO_HINT)
    if refusal is not None:
        share.take_back()
    return refusal


async def test_init_containers_lend_their_cpus_and_sidecars_keep_theirs() -> None:
    policy = static_policy(machine(threads=1), Options(), 1000, frozenset())
    state = policy.check(State())
    inits = (
        guaranteed("1", "first"),
        guaranteed("1", "sidecar", restartPolicy="Always"),
        guaranteed("2", "last"),
    )
    made = pod(guaranteed("1"), guaranteed("1", "other"), init=inits)
    assert await give(policy, state, made) is None
    assert given(state) == {
        "first": "1",
        "sidecar": "1",
        "last": "2-3",
        "main": "2",
        "other": "3",
    }
    assert shown(state.shared) == "0"
    policy.release(state, "u1")
    assert (shown(state.shared), state.assignments) == ("0-3", {})


async def test_cpus_that_are_not_left_refuse_a_pod_and_change_nothing() -> None:
    policy = static_policy(machine(threads=1), Options(), 1000, frozenset())
    state = policy.check(State())
    refusal = await give(policy, state, pod(guaranteed("2"), guaranteed("2", "other")))
    assert refusal is not None
    assert (refusal.reason, refusal.message) == (
        "UnexpectedAdmissionError",
        "Allocate failed due to not enough cpus available to satisfy request: "
        "requested=2, available=1, which is unexpected",
    )
    assert (shown(state.shared), state.assignments) == ("0-3", {})


@pytest.mark.parametrize(
    ("cpu", "text"),
    [
        ("3", "requested 3 cpus not multiple cpus per core = 2"),
        (
            "8",
            "not enough free physical CPUs: available physical CPUs = 6, "
            "requested CPUs = 8, CPUs per core = 2",
        ),
    ],
)
async def test_cores_that_would_be_broken_up_refuse_a_pod(cpu: str, text: str) -> None:
    policy = static_policy(machine(), Options(full_cores=True), 1000, frozenset())
    refusal = await give(policy, policy.check(State()), pod(guaranteed(cpu)))
    assert refusal is not None
    assert (refusal.reason, refusal.message) == (
        "SMTAlignmentError",
        f"SMT Alignment Error: {text}",
    )


@pytest.mark.parametrize(
    ("milli", "named", "problem"),
    [
        (None, "", "unable to determine reserved CPU resources for static policy"),
        (0, "", "requires systemreserved.cpu + kubereserved.cpu to be greater than zero"),
        (9000, "", "unable to reserve the required amount of CPUs"),
    ],
)
def test_the_static_policy_wants_a_reservation(milli: int | None, named: str, problem: str) -> None:
    with pytest.raises(BadFlag) as refused:
        static_policy(machine(), Options(), milli, parse(named))
    assert problem in str(refused.value)


def test_strictly_reserved_cpus_are_for_nobody() -> None:
    policy = static_policy(machine(), Options(strict=True), 2000, parse("0,4"))
    assert shown(policy.check(State()).shared) == "1-3,5-7"
    with pytest.raises(BadFlag, match="some of strictly reserved cpus"):
        policy.check(State(parse("0-7")))


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (State(parse("1-7")), "not all reserved cpus"),
        (State(parse("0-5")), 'current set of available CPUs "0-7" doesn\'t match'),
        (State(parse("0-7"), {"u": {"c": parse("1")}}), "overlaps with default cpuset"),
        (State(parse(""), {"u": {"c": parse("1")}}), "default cpuset cannot be empty"),
    ],
)
def test_a_state_that_does_not_fit_the_machine_is_refused(state: State, problem: str) -> None:
    policy = static_policy(machine(), Options(), 1000, frozenset())
    with pytest.raises(BadFlag) as refused:
        policy.check(state)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"align-by-socket": "true"}, "Alpha-level Options not enabled, but option"),
        ({"fastest": "true"}, 'unknown CPU Manager Policy option: "fastest"'),
        ({"full-pcpus-only": "yes"}, 'bad value for option "full-pcpus-only"'),
        (
            {"distribute-cpus-across-numa": "1", "prefer-align-cpus-by-uncorecache": "1"},
            "can not be used at the same time",
        ),
    ],
)
def test_options_that_are_not_there_are_refused(options: dict[str, str], problem: str) -> None:
    with pytest.raises(BadFlag) as refused:
        parse_options(options)
    assert problem in str(refused.value)
    assert parse_options({"full-pcpus-only": "true"}) == Options(full_cores=True)


def test_the_file_carries_upstreams_checksum(tmp_path: Path) -> None:
    assert checksum("none", "4-6", {}) == 354655845
    assert (
        checksum("none", "1-3", {"pod": {"container2": "1-3", "container1": "4-6"}}) == 3610638499
    )
    state = State(parse("0,2-3"), {"u": {"main": parse("1")}})
    checkpoint.save(tmp_path, "static", state)
    written = orjson.loads((tmp_path / "cpu_manager_state").read_bytes())
    assert list(written) == ["policyName", "defaultCpuSet", "entries", "checksum"]
    assert written["entries"] == {"u": {"main": "1"}}
    assert checkpoint.restore(tmp_path, "static") == state


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "unexpected end"),
        (b"[]", "checkpoint is corrupted"),
        (
            b'{"policyName":"static","defaultCpuSet":"0-1","checksum":1}',
            "checkpoint is corrupted",
        ),
        (
            b'{"policyName":"none","defaultCpuSet":"","checksum":1353318690}',
            'configured policy "static" differs from state checkpoint policy "none"',
        ),
        (b'{"policyName":"static","defaultCpuSet":"x"}', 'could not parse default cpu set "x"'),
        (b'{"policyName":"static","entries":{"u":1}}', "checkpoint is corrupted"),
    ],
)
def test_a_file_that_is_not_to_be_trusted_is_refused(
    tmp_path: Path, text: bytes, problem: str
) -> None:
    (tmp_path / "cpu_manager_state").write_bytes(text)
    with pytest.raises(BadFlag) as refused:
        checkpoint.restore(tmp_path, "static")
    assert problem in str(refused.value)
    assert "please drain this node and delete the CPU manager checkpoint file" in str(refused.value)


def manager(root: Path) -> PinningManager:
    config = Config(root_dir=str(root), cpu_manager_policy="static", kube_reserved=("cpu=500m",))
    return PinningManager(config, machine(threads=1), frozenset(), Runtime("unix:///nowhere"))


async def admit(managed: PinningManager, made: Obj) -> Refusal | None:
    return await TopologyManager([managed], Clock()).give(made)


async def test_exclusive_cpus_outlive_the_kubelet_and_have_no_quota(tmp_path: Path) -> None:
    first = manager(tmp_path)
    made = pod(guaranteed("2"), guaranteed("100m", "shared"))
    assert await admit(first, made) is None
    again = manager(tmp_path)
    assert await admit(again, made) is None
    assert (again.cpuset("u1", "main"), again.cpuset("u1", "shared")) == ("1-2", "0,3")
    assert (again.cpuset("other", "main"), again.pods()) == ("0,3", {"u1"})
    pinned = again.pinned(made)
    main, shared = pinned["spec"]["containers"]
    assert container_bounds(pinned, main).quota is None
    assert container_bounds(pinned, shared).quota == 10_000
    assert pod_bounds(pinned).quota is None
    assert container_bounds(made, made["spec"]["containers"][0]).quota == 200_000
    await again.release("u1")
    assert manager(tmp_path).cpuset("other", "main") == "0-3"


async def test_cpus_that_cannot_be_written_down_are_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = manager(tmp_path)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", full)
        with pytest.raises(OSError, match="no space"):
            await admit(found, pod(guaranteed("1")))
    assert found.pods() == set()
    assert await admit(found, pod(guaranteed("1"))) is None
    assert manager(tmp_path).pods() == {"u1"}


async def test_a_guaranteed_pod_with_exclusive_cpus_keeps_its_cpu(tmp_path: Path) -> None:
    judge = manager(tmp_path).judge_resize
    refusal = judge(pod(guaranteed("1")), pod(guaranteed("2")))
    assert refusal is not None
    assert (refusal.reason, refusal.message) == (
        "Infeasible",
        'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"',
    )
    assert judge(pod(guaranteed("1")), pod(guaranteed("1"))) is None
    burstable = pod(container(resources={"requests": {"cpu": "2"}}))
    assert judge(pod(guaranteed("1")), burstable) is None
