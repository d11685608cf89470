"""The environment of device selectors: ``device.attributes["gpu.example.com"].model == "a"``.

Validation compiles each selector when a class or claim is written; the scheduler runs it on the
devices of resource slices. Names of attributes and capacities without a domain belong to the
driver's own (KEP 4381).
"""

from functools import lru_cache
from typing import Any

from kybern.api.cel.environment import Environment, Program
from kybern.api.cel.errors import CompileError, EvaluationError, Issue
from kybern.api.cel.functions import semver
from kybern.api.cel.functions.quantities import QUANTITY
from kybern.api.cel.functions.quantities import parse as parse_quantity
from kybern.api.cel.types import ANY, BOOL, STRING, Field, ObjectType, is_dynamic, map_of
from kybern.api.cel.values import DefaultingMap

Obj = dict[str, Any]

# What one look at one device may cost (resource.k8s.io's CELSelectorExpressionMaxCost).
MAX_COST = 1_000_000

_DEVICE = ObjectType(
    "kubernetes.DRADevice",
    fields={
        "driver": Field(STRING, "driver"),
        "allowMultipleAllocations": Field(BOOL, "allowMultipleAllocations"),
        "attributes": Field(map_of(STRING, map_of(STRING, ANY)), "attributes"),
        "capacity": Field(map_of(STRING, map_of(STRING, QUANTITY)), "capacity"),
    },
)
_ENVIRONMENT = Environment({"device": _DEVICE})


@lru_cache(maxsize=1024)
def compile_selector(expression: str) -> Program:
    """The program of a selector; raises CompileError, also where it cannot come to a bool."""
    program = _ENVIRONMENT.compile(expression)
    if program.type != BOOL and not is_dynamic(program.type):
        raise WrongResult(program.type.name)
    return program


class WrongResult(CompileError):
    """A selector that comes to something else than true or false."""

    def __init__(self, name: str) -> None:
        super().__init__("", [Issue(0, name)])
        self.name = name

    def __str__(self) -> str:
        return f"must evaluate to bool or the unknown type, not {self.name}"


def problem(expression: str) -> str:
    """What is wrong with a selector, in the API server's words; empty if nothing is."""
    try:
        compile_selector(expression)
    except WrongResult as error:
        return str(error)
    except CompileError as error:
        return f"compilation failed: {error}"
    return ""


def variables(device: Obj, driver: str) -> dict[str, Any]:
    """What a selector sees of a device of a resource slice; raises EvaluationError."""
    attributes, capacity = DefaultingMap(), DefaultingMap()
    for name, held in (device.get("attributes") or {}).items():
        domain, identifier = qualified(name, driver)
        attributes.setdefault(domain, {})[identifier] = _attribute(name, held)
    for name, held in (device.get("capacity") or {}).items():
        domain, identifier = qualified(name, driver)
        capacity.setdefault(domain, {})[identifier] = parse_quantity(held["value"])
    several = bool(device.get("allowMultipleAllocations"))
    seen = {"attributes": attributes, "capacity": capacity}
    return {"device": {"driver": driver, "allowMultipleAllocations": several, **seen}}


def matches(expression: str, seen: dict[str, Any]) -> bool:
    """Whether a device, as :func:`variables` shows it, is wanted; raises CelError."""
    found = compile_selector(expression).evaluate(seen, MAX_COST)
    if not isinstance(found, bool):
        raise EvaluationError("CEL native result value should have been a bool")
    return found


def qualified(name: str, driver: str) -> tuple[str, str]:
    """Domain and identifier of an attribute's or a capacity's name."""
    domain, slash, identifier = name.partition("/")
    return (domain, identifier) if slash else (driver, name)


def _attribute(name: str, held: Obj) -> Any:
    for field in ("int", "bool", "string"):
        if field in held:
            return held[field]
    if "version" in held:
        try:
            return semver.parse(held["version"])
        except EvaluationError as error:
            raise EvaluationError(f"attribute {name}: parse semantic version: {error}") from None
    raise EvaluationError(f"attribute {name}: unsupported attribute value")
