"""Which requests a claim for extended resources has, and whom they serve."""

from typing import Any

import pytest

from kybern.scheduler.devices.extended_resources import requests_and_mappings

Obj = dict[str, Any]
A, B = "example.com/a", "example.com/b"


def container(name: str, policy: str = "", **asked: str) -> Obj:
    """Requests by the last letter of the resource's name."""
    resources = {"requests": {f"example.com/{letter}": amount for letter, amount in asked.items()}}
    return {"name": name, "resources": resources} | ({"restartPolicy": policy} if policy else {})


def asked(*containers: Obj, inits: tuple[Obj, ...] = ()) -> tuple[list[Any], list[Any]]:
    """Requests as name and count, mappings as container, resource and request."""
    spec = {"containers": list(containers), "initContainers": list(inits)}
    requests, mappings = requests_and_mappings(spec, {A: "class-a", B: "class-b"})
    return (
        [(each["name"], each["exactly"]["count"]) for each in requests],
        [(m["containerName"], m["resourceName"][-1], m["requestName"]) for m in mappings],
    )


def test_each_container_that_lasts_has_requests_of_its_own() -> None:
    requests, mappings = asked(container("x", a="1", b="2"), container("y", b="1"))
    assert requests == [
        ("container-0-request-0", 1),
        ("container-0-request-1", 2),
        ("container-1-request-0", 1),
    ]
    assert mappings == [
        ("x", "a", "container-0-request-0"),
        ("x", "b", "container-0-request-1"),
        ("y", "b", "container-1-request-0"),
    ]


def test_the_place_of_a_resource_counts_all_that_the_container_requests() -> None:
    one = container("x", a="1")
    one["resources"]["requests"]["cpu"] = "1"
    assert asked(one)[0] == [("container-0-request-1", 1)]


@pytest.mark.parametrize(
    ("amount", "requests", "uses"),
    [
        ("2", [("container-1-request-0", 2)], ["container-1-request-0"]),
        (
            "3",
            [("container-0-request-0", 1), ("container-1-request-0", 2)],
            ["container-1-request-0", "container-0-request-0"],
        ),
    ],
)
def test_an_init_container_uses_what_later_containers_will_have(
    amount: str, requests: list[Any], uses: list[str]
) -> None:
    found, mappings = asked(container("main", a="2"), inits=(container("init", a=amount),))
    assert found == requests
    assert [name for who, _, name in mappings if who == "init"] == uses


def test_of_several_init_containers_the_largest_request_serves_all() -> None:
    inits = (container("small", a="1"), container("large", a="3"))
    requests, mappings = asked(container("main"), inits=inits)
    assert requests == [("container-1-request-0", 3)]
    assert mappings == [
        ("small", "a", "container-1-request-0"),
        ("large", "a", "container-1-request-0"),
    ]


def test_a_sidecar_keeps_its_devices_and_lends_them_to_those_before_it() -> None:
    inits = (container("init", a="1"), container("side", "Always", a="1"))
    requests, mappings = asked(container("main", a="1"), inits=inits)
    assert requests == [("container-1-request-0", 1), ("container-2-request-0", 1)]
    assert ("init", "a", "container-1-request-0") in mappings
