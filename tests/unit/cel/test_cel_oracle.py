"""Random expressions of the core language, held against another implementation of CEL."""

import random
from typing import Any

import pytest

from kybern.api.cel import CelError, Environment
from kybern.api.cel.types import INT, STRING, list_of, map_of

oracle = pytest.importorskip(
    "cel_expr_python.cel", reason="cel-expr-python has no wheel for this machine"
)

VARIABLES: dict[str, Any] = {
    "i": 7,
    "s": "hello",
    "l": [3, 1, 2],
    "m": {"a": 1, "b": 2},
}
OURS = Environment(
    {"i": INT, "s": STRING, "l": list_of(INT), "m": map_of(STRING, INT)},
)


class Expressions:
    """Makes expressions of a wanted type, sound for the most part."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def make(self, wanted: str, depth: int) -> str:
        leaves = _LEAVES[wanted]
        forms = _FORMS[wanted]
        if depth == 0 or self.random.random() < 0.2:
            return self.random.choice(leaves)
        form, parts = self.random.choice(forms)
        return form.format(*(self.make(part, depth - 1) for part in parts))


_LEAVES = {
    "int": ["0", "1", "-3", "i", "9223372036854775807", "s.size()", "m.a", "l[0]", "l[5]"],
    "string": ["s", "''", "'é\\n'", "string(i)"],
    "bool": ["true", "false", "has(m.a)", "has(m.z)", "'a' in m", "1 in l"],
    "list": ["l", "[]", "[1, 2]"],
    "double": ["1.5", "0.0", "double(i)", "-2.25"],
}
_FORMS: dict[str, list[tuple[str, list[str]]]] = {
    "int": [
        ("({} + {})", ["int", "int"]),
        ("({} - {})", ["int", "int"]),
        ("({} * {})", ["int", "int"]),
        ("({} / {})", ["int", "int"]),
        ("({} % {})", ["int", "int"]),
        ("(-({}))", ["int"]),
        ("({} ? {} : {})", ["bool", "int", "int"]),
        ("size({})", ["string"]),
        ("{}.size()", ["list"]),
        ("{}[{}]", ["list", "int"]),
        ("int({})", ["double"]),
        ("int({})", ["string"]),
    ],
    "string": [
        ("({} + {})", ["string", "string"]),
        ("string({})", ["int"]),
        ("({} ? {} : {})", ["bool", "string", "string"]),
    ],
    "double": [
        ("({} + {})", ["double", "double"]),
        ("({} * {})", ["double", "double"]),
        ("({} / {})", ["double", "double"]),
        ("double({})", ["int"]),
    ],
    "bool": [
        ("({} && {})", ["bool", "bool"]),
        ("({} || {})", ["bool", "bool"]),
        ("!({})", ["bool"]),
        ("({} == {})", ["int", "int"]),
        ("({} != {})", ["string", "string"]),
        ("({} < {})", ["int", "int"]),
        ("({} >= {})", ["double", "double"]),
        ("({} <= {})", ["string", "string"]),
        ("({} == {})", ["list", "list"]),
        ("{}.startsWith({})", ["string", "string"]),
        ("{}.contains({})", ["string", "string"]),
        ("{}.all(x, x > {})", ["list", "int"]),
        ("{}.exists(x, x / {} == 1)", ["list", "int"]),
        ("{}.exists_one(x, x == {})", ["list", "int"]),
        ("({} in {})", ["int", "list"]),
    ],
    "list": [
        ("({} + {})", ["list", "list"]),
        ("[{}, {}]", ["int", "int"]),
        ("{}.map(x, x + {})", ["list", "int"]),
        ("{}.filter(x, x != {})", ["list", "int"]),
    ],
}


@pytest.mark.parametrize("seed", range(10))
def test_random_expressions_come_to_the_same_as_elsewhere(seed: int) -> None:
    types = {
        "i": oracle.Type.INT,
        "s": oracle.Type.STRING,
        "l": oracle.Type.List(oracle.Type.INT),
        "m": oracle.Type.Map(oracle.Type.STRING, oracle.Type.INT),
    }
    theirs = oracle.NewEnv(variables=types)
    expressions = Expressions(seed)
    for _ in range(100):
        text = expressions.make(expressions.random.choice(list(_LEAVES)), 4)
        assert ours(text) == elsewhere(theirs, text), text


def ours(text: str) -> Any:
    try:
        return plain(OURS.compile(text).evaluate(dict(VARIABLES)))
    except CelError:
        return "fails"


def elsewhere(environment: Any, text: str) -> Any:
    try:
        result = environment.compile(text).eval(data=dict(VARIABLES))
        value = result.plain_value()
    except Exception:
        return "fails"
    return "fails" if result.type() == oracle.Type.ERROR else plain(value)


def plain(value: Any) -> Any:
    if isinstance(value, float):
        return repr(value)
    return [plain(item) for item in value] if isinstance(value, list) else value
