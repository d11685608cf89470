"""Which endpoints a Service's traffic goes to."""

from typing import Any

import pytest

from kybern.network.endpoints import Choice, Endpoint, NodeView, choose, collect


def endpoint_slice(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 8080}]
    return {"addressType": "IPv4", "ports": ports, "endpoints": list(endpoints), **fields}


def endpoint(
    last: int,
    *,
    ready: bool = True,
    serving: bool = True,
    terminating: bool = False,
    local: bool = False,
    zones: tuple[str, ...] = (),
    nodes: tuple[str, ...] = (),
) -> Endpoint:
    address = f"10.244.0.{last}"
    hints = frozenset(zones), frozenset(nodes)
    return Endpoint(address, 8080, ready, serving, terminating, local, *hints)


def last_octets(choice: Choice) -> tuple[list[int], list[int]]:
    cluster, local = (
        [int(item.address.rpartition(".")[2]) for item in items]
        for items in (choice.cluster, choice.local)
    )
    return cluster, local


def test_slices_are_merged_by_port_name_and_sorted() -> None:
    first = endpoint_slice({"addresses": ["10.244.0.9"], "nodeName": "here"})
    second = endpoint_slice({"addresses": ["10.244.0.1"], "nodeName": "there"})
    found = collect([first, second], "here")
    assert [(item.address, item.local) for item in found["http"]] == [
        ("10.244.0.1", False),
        ("10.244.0.9", True),
    ]


def test_missing_conditions_mean_ready_and_serving_follows_ready() -> None:
    def of(conditions: dict[str, Any]) -> Endpoint:
        item = {"addresses": ["10.244.0.1"], "conditions": conditions}
        return collect([endpoint_slice(item)], "here")["http"][0]

    assert of({})[2:5] == (True, True, False)
    assert of({"ready": None})[2:5] == (True, True, False)
    assert of({"ready": False})[2:5] == (False, False, False)
    assert of({"ready": False, "serving": True, "terminating": True})[2:5] == (False, True, True)


def test_of_duplicates_the_ready_one_counts() -> None:
    gone = endpoint_slice({"addresses": ["10.244.0.1"], "conditions": {"ready": False}})
    here = endpoint_slice({"addresses": ["10.244.0.1"]})
    for order in ([gone, here], [here, gone]):
        assert [item.ready for item in collect(order, "here")["http"]] == [True]


@pytest.mark.parametrize(
    "broken",
    [
        endpoint_slice({"addresses": ["10.244.0.1; drop"]}),
        endpoint_slice({"addresses": ["fd00::1"]}),
        endpoint_slice({"addresses": []}),
        endpoint_slice({"addresses": ["10.244.0.1"]}, addressType="FQDN"),
        endpoint_slice({"addresses": ["10.244.0.1"]}, ports=[{"name": "http"}]),
        endpoint_slice({"addresses": ["10.244.0.1"]}, ports=None),
    ],
)
def test_what_is_no_address_and_port_reaches_no_rule(broken: dict[str, Any]) -> None:
    assert not any(collect([broken], "here").values())


NODE = NodeView("here", "west")


@pytest.mark.parametrize(
    ("endpoints", "cluster", "local", "exists"),
    [
        ([], [], [], False),
        ([endpoint(1), endpoint(2, local=True)], [1, 2], [2], True),
        ([endpoint(1, ready=False, serving=False)], [], [], False),
        # Ready ones go before terminating ones, in the cluster and on the node on their own.
        (
            [endpoint(1), endpoint(2, ready=False, terminating=True, local=True)],
            [1],
            [2],
            True,
        ),
        ([endpoint(1, ready=False, terminating=True)], [1], [], True),
        # Topology hints: all ready endpoints need one, and one has to be for this zone or node.
        ([endpoint(1, zones=("west",)), endpoint(2, zones=("east",))], [1], [], True),
        ([endpoint(1, zones=("west",)), endpoint(2)], [1, 2], [], True),
        ([endpoint(1, zones=("east",)), endpoint(2, zones=("south",))], [1, 2], [], True),
        (
            [
                endpoint(1, zones=("west",), nodes=("there",)),
                endpoint(2, zones=("west",), nodes=("here",)),
            ],
            [2],
            [],
            True,
        ),
        (
            [
                endpoint(1, zones=("west",), nodes=("x",)),
                endpoint(2, zones=("east",), nodes=("y",)),
            ],
            [1],
            [],
            True,
        ),
    ],
)
def test_usable_endpoints(
    endpoints: list[Endpoint], cluster: list[int], local: list[int], exists: bool
) -> None:
    choice = choose(endpoints, NODE)
    assert last_octets(choice) == (cluster, local)
    assert choice.exists == exists
