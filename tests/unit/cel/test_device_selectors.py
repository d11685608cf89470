"""What selectors see of devices, and which selectors are refused."""

from typing import Any

import pytest

from kybern.api.cel import EvaluationError
from kybern.api.cel.device_selectors import matches, problem, variables

DEVICE: dict[str, Any] = {
    "name": "gpu-0",
    "attributes": {
        "model": {"string": "a100"},
        "cores": {"int": 4},
        "healthy": {"bool": True},
        "driverVersion": {"version": "1.10.0"},
        "vendor.example.com/slot": {"int": 7},
    },
    "capacity": {"memory": {"value": "80Gi"}},
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("device.driver == 'gpu.example.com'", True),
        ("device.attributes['gpu.example.com'].model == 'a100'", True),
        ("device.attributes['gpu.example.com'].cores > 3", True),
        ("device.attributes['gpu.example.com'].healthy", True),
        ("device.attributes['vendor.example.com'].slot == 8", False),
        ("'other.example.com' in device.attributes", False),
        ("has(device.attributes['other.example.com'].x)", False),
        ("device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) > 0", True),
        (
            "device.attributes['gpu.example.com'].driverVersion.isGreaterThan(semver('1.9.0'))",
            True,
        ),
        ("cel.bind(d, device.attributes['gpu.example.com'], d.healthy && d.cores == 4)", True),
        ("device.allowMultipleAllocations", False),
    ],
)
def test_a_selector_reads_a_device(expression: str, expected: bool) -> None:
    assert not problem(expression)
    assert matches(expression, variables(DEVICE, "gpu.example.com")) is expected


def test_an_attribute_that_is_not_there_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="no such key: x"):
        matches("device.attributes['a'].x == 1", variables(DEVICE, "gpu.example.com"))


def test_a_selector_that_comes_to_no_bool_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="should have been a bool"):
        matches("device.attributes['gpu.example.com'].model", variables(DEVICE, "gpu.example.com"))


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("device.driver", "must evaluate to bool or the unknown type, not string"),
        ("device.nothing", "compilation failed: ERROR: <input>:1:7: undefined field 'nothing'"),
        ("", "compilation failed: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>'"),
    ],
)
def test_a_selector_without_meaning_is_refused(expression: str, text: str) -> None:
    assert problem(expression).startswith(text)
