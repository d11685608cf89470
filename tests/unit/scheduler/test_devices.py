"""The search for devices: what claims get, and what keeps them from it."""

from typing import Any

import pytest

from kybern.component.clock import Clock
from kybern.scheduler.devices.allocated import allocated
from kybern.scheduler.devices.allocator import Allocator
from kybern.scheduler.devices.pools import Slices
from kybern.scheduler.devices.requests import AllocationError
from kybern.scheduler.devices.results import allocation

Obj = dict[str, Any]
DRIVER = "d.example.com"
CLASSES = {"any": {"metadata": {"name": "any"}, "spec": {}}}


def device(name: str, **spec: Any) -> Obj:
    attributes = {key: {"string": text} for key, text in spec.pop("attributes", {}).items()}
    return {"name": name, "attributes": attributes, **spec}


def pool_slice(*devices: Obj, pool: str = "pool", name: str = "", **spec: Any) -> Obj:
    held = {"name": pool, "generation": spec.pop("generation", 1)}
    held["resourceSliceCount"] = spec.pop("count", 1)
    place = {} if spec.keys() & {"nodeName", "nodeSelector"} else {"allNodes": True}
    contents = {"driver": DRIVER, "pool": held, "devices": list(devices), **place, **spec}
    return {"metadata": {"name": name or pool}, "spec": contents}


def request(name: str = "r", **exactly: Any) -> Obj:
    return {"name": name, "exactly": {"deviceClassName": "any", **exactly}}


def claim(*requests: Obj, name: str = "claim", **devices: Any) -> Obj:
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"metadata": metadata, "spec": {"devices": {"requests": list(requests), **devices}}}


def matching(expression: str) -> list[Obj]:
    return [{"cel": {"expression": expression}}]


def on_node(place: Obj) -> bool:
    return bool(place.get("allNodes") or place.get("nodeName") == "here")


def allocate(slices: list[Obj], *claims: Obj, others: list[Obj] | None = None) -> Any:
    """The names of the devices of each claim, or None."""
    pools = Slices(slices).near("here").pools(on_node)
    found = Allocator(pools, CLASSES, allocated(others or [])).allocate(claims)
    return found and [[chosen.device.id[2] for chosen in each] for each in found]


def holder(slices: list[Obj], held: Obj) -> Obj:
    """The claim with what it would get."""
    pools = Slices(slices).pools(on_node)
    found = Allocator(pools, CLASSES, allocated([])).allocate([held])
    assert found is not None
    given = allocation(held, found[0], CLASSES, "here", Clock(seed=1))
    return {**held, "status": {"allocation": given}}


def test_a_node_looks_at_the_pools_that_may_have_something_for_it() -> None:
    counters = [{"name": "memory", "counters": {"bytes": {"value": "1Gi"}}}]
    slices = Slices(
        [
            pool_slice(device("a"), pool="own", nodeName="here"),
            pool_slice(device("b"), pool="foreign", nodeName="there"),
            pool_slice(device("c"), pool="all"),
            pool_slice(device("d"), pool="part", name="one", count=2, nodeName="here"),
            pool_slice(device("e"), pool="part", name="two", count=2, nodeName="there"),
            pool_slice(pool="counted", sharedCounters=counters, nodeName="there"),
        ]
    )
    near = slices.near("here")
    assert [pool.name for pool in near.pools(on_node)] == ["all", "counted", "own", "part"]
    assert near.pools(on_node) == slices.pools(on_node)
    assert sorted(near.signature(on_node)) == sorted(slices.signature(on_node))


THREE = [pool_slice(device("a"), device("b"), device("c"))]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([request()], [["a"]]),
        ([request(count=2)], [["a", "b"]]),
        ([request("x"), request("y")], [["a", "b"]]),
        ([request(count=4)], None),
        ([request(allocationMode="All")], [["a", "b", "c"]]),
        ([request(allocationMode="All"), request("y")], None),
    ],
)
def test_devices_are_taken_in_order_and_each_once(asked: list[Obj], expected: Any) -> None:
    assert allocate(THREE, claim(*asked)) == expected


def test_claims_of_one_pod_share_the_pools() -> None:
    one, two = claim(request(), name="one"), claim(request(count=2), name="two")
    assert allocate(THREE, one, two) == [["a"], ["b", "c"]]
    assert allocate(THREE, one, two, claim(request(), name="three")) is None


def test_what_others_hold_is_not_free_but_administrators_see_it() -> None:
    taken = holder(THREE, claim(request(count=2), name="other"))
    assert allocate(THREE, claim(request()), others=[taken]) == [["c"]]
    assert allocate(THREE, claim(request(adminAccess=True)), others=[taken]) == [["a"]]
    twice = claim(request("x", adminAccess=True), request("y", adminAccess=True))
    assert allocate(THREE, twice, others=[taken]) == [["a", "b"]]


def test_the_search_goes_back_where_a_later_request_needs_an_earlier_device() -> None:
    slices = [pool_slice(device("a", attributes={"kind": "rare"}), device("b"))]
    rare = f"has(device.attributes['{DRIVER}'].kind)"
    both = claim(request("any"), request("rare", selectors=matching(rare)))
    assert allocate(slices, both) == [["b", "a"]]


def test_alternatives_are_tried_in_order() -> None:
    ways = [
        {"name": "two", "deviceClassName": "any", "count": 5},
        {"name": "one", "deviceClassName": "any"},
    ]
    held = holder(THREE, claim({"name": "r", "firstAvailable": ways}))
    assert held["status"]["allocation"]["devices"]["results"][0]["request"] == "r/one"


def test_attributes_must_match_or_differ() -> None:
    slices = [
        pool_slice(
            device("a", attributes={"numa": "0"}),
            device("b", attributes={"numa": "1"}),
            device("c", attributes={"numa": "0"}),
            device("d"),
        )
    ]
    same = [{"matchAttribute": f"{DRIVER}/numa"}]
    assert allocate(slices, claim(request(count=2), constraints=same)) == [["a", "c"]]
    apart = [{"distinctAttribute": f"{DRIVER}/numa", "requests": ["r"]}]
    assert allocate(slices, claim(request(count=2), constraints=apart)) == [["a", "b"]]
    assert allocate(slices, claim(request(count=3), constraints=apart)) is None


def test_tainted_devices_are_for_those_who_tolerate_it() -> None:
    taint = {"key": "broken", "effect": "NoSchedule"}
    slices = [
        pool_slice(device("a", taints=[taint]), device("b", taints=[{**taint, "effect": "None"}]))
    ]
    assert allocate(slices, claim(request())) == [["b"]]
    tolerant = request(tolerations=[{"key": "broken", "operator": "Exists"}])
    assert allocate(slices, claim(tolerant)) == [["a"]]


def test_partitions_take_from_the_same_counters() -> None:
    counters = [{"name": "card", "counters": {"memory": {"value": "4Gi"}}}]

    def part(name: str, memory: str) -> Obj:
        taken = {"counterSet": "card", "counters": {"memory": {"value": memory}}}
        return device(name, consumesCounters=[taken])

    slices = [
        pool_slice(name="counters", count=2, sharedCounters=counters),
        pool_slice(part("whole", "4Gi"), part("half", "2Gi"), part("other", "2Gi"), count=2),
    ]
    assert allocate(slices, claim(request())) == [["whole"]]
    assert allocate(slices, claim(request(count=2))) == [["half", "other"]]
    taken = holder(slices, claim(request(), name="other"))
    assert allocate(slices, claim(request()), others=[taken]) is None


def test_shared_devices_are_given_out_by_capacity() -> None:
    policy = {"default": "1Gi", "validRange": {"min": "1Gi", "max": "3Gi", "step": "1Gi"}}
    capacity = {"memory": {"value": "4Gi", "requestPolicy": policy}}
    slices = [pool_slice(device("a", allowMultipleAllocations=True, capacity=capacity))]

    def of(amount: str) -> Obj:
        return request(capacity={"requests": {"memory": amount}})

    first = holder(slices, claim(of("1500Mi"), name="other"))
    result = first["status"]["allocation"]["devices"]["results"][0]
    assert result["consumedCapacity"] == {"memory": "2Gi"} and result["shareID"]
    assert allocate(slices, claim(of("2Gi")), others=[first]) == [["a"]]
    assert allocate(slices, claim(of("3Gi")), others=[first]) is None
    assert allocate(slices, claim(of("4Gi"))) is None, "more than the policy allows"


def test_a_pool_counts_in_its_newest_generation_and_when_it_is_whole() -> None:
    old, fresh = pool_slice(device("a"), name="1"), pool_slice(device("b"), name="2", generation=2)
    assert allocate([old, fresh], claim(request())) == [["b"]]
    partial = pool_slice(device("a"), count=2)
    assert allocate([partial], claim(request())) is None
    with pytest.raises(AllocationError, match="pool is currently being updated"):
        allocate([partial], claim(request(allocationMode="All")))


def test_a_pool_that_contradicts_itself_is_not_used() -> None:
    with pytest.raises(AllocationError, match="invalid resource pools were encountered"):
        allocate([pool_slice(device("a"), device("a"))], claim(request()))


def test_only_devices_that_reach_the_node_count() -> None:
    slices = [
        pool_slice(device("far"), pool="1", nodeName="there"),
        pool_slice(device("near"), pool="2", nodeName="here"),
        pool_slice(
            device("x", nodeName="there"),
            device("y", allNodes=True),
            pool="3",
            perDeviceNodeSelection=True,
            nodeSelector=None,
        ),
    ]
    assert allocate(slices, claim(request(count=2))) == [["near", "y"]]
    given = holder(slices, claim(request()))["status"]["allocation"]
    only = {"key": "metadata.name", "operator": "In", "values": ["here"]}
    assert given["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": [only]}]}


def test_configuration_of_class_and_claim_goes_with_the_allocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opaque = {"opaque": {"driver": DRIVER, "parameters": {"a": 1}}}
    monkeypatch.setitem(CLASSES, "any", {"spec": {"config": [opaque]}})
    mine = [{"requests": ["y"], **opaque}, {"requests": ["other"], **opaque}]
    given = holder(THREE, claim(request("x"), request("y"), config=mine))
    assert given["status"]["allocation"]["devices"]["config"] == [
        {"source": "FromClass", "requests": ["x", "y"], **opaque},
        {"source": "FromClaim", "requests": ["y"], **opaque},
    ]


def test_a_selector_that_fails_on_a_device_is_reported() -> None:
    wanted = request(selectors=matching("device.attributes['x'].missing == 1"))
    with pytest.raises(AllocationError, match="CEL runtime error: no such key: missing"):
        allocate(THREE, claim(wanted))


def test_a_hopeless_search_comes_to_an_end() -> None:
    many = [pool_slice(*(device(f"d{n}", attributes={"n": str(n)}) for n in range(60)))]
    same = [{"matchAttribute": f"{DRIVER}/n"}]
    wanted = [request(f"r{n}", count=3) for n in range(8)]
    apart = [{"matchAttribute": f"{DRIVER}/n", "requests": ["r7"]}]
    assert allocate(many, claim(*wanted, constraints=same)) is None
    with pytest.raises(AllocationError, match="gave up the search"):
        allocate(many, claim(*wanted, constraints=apart))


def test_a_constraint_that_all_devices_cannot_meet_is_an_error() -> None:
    slices = [pool_slice(device("a", attributes={"m": {"string": "x"}}), device("b"))]
    whole = claim(request(allocationMode="All"), constraints=[{"matchAttribute": "gpu/m"}])
    with pytest.raises(AllocationError, match="a claim constraint would not be satisfied"):
        allocate(slices, whole)
