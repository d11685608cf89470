"""What expressions come to: one table per part of the language and its libraries."""

from typing import Any

import pytest

from kybern.api.cel import CompileError, CostLimitExceeded, Environment, EvaluationError
from kybern.api.cel.types import DYN, INT, STRING, Field, ObjectType, list_of, map_of
from kybern.api.cel.values import kind

SPEC = ObjectType("Spec", fields={"__if__": Field(INT, "if"), "name": Field(STRING, "name")})
ENVIRONMENT = Environment(
    {
        "self": SPEC,
        "thing": DYN,
        "word": STRING,
        "numbers": list_of(INT),
        "table": map_of(STRING, DYN),
        "request.name": STRING,
    }
)
VARIABLES: dict[str, Any] = {
    "self": {"if": 3, "name": "n"},
    "thing": {"a": {"b": [1, 2, 3]}, "none": None},
    "word": "hello",
    "numbers": [3, 1, 2],
    "table": {"k": 1, "s": "text"},
    "request.name": "dotted",
}


def value(expression: str) -> Any:
    return ENVIRONMENT.compile(expression).evaluate(dict(VARIABLES))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("- 5 - -5", 0),
        ("2u * 3u", 6),
        ("1.5 + 1.0", 2.5),
        ("1.0 / 0.0 > 1.0", True),
        ("0x1F", 31),
        ("-9223372036854775808", -(2**63)),
        ("'a' + \"b\" + '''c'''", "abc"),
        (r"'\n\x41\u00e9\U0001F600\101'", "\nAé😀A"),
        (r"r'\n'", r"\n"),
        (r"b'\xff\303' == b'\377\xc3'", True),
        ("size(b'é')", 2),
        ("!false && !!true", True),
        ("1 < 2u && 2u < 2.5 && 2.5 > 1", True),
        ("dyn(1) == 1.0", True),
        ("dyn(1) == 'a'", False),
        ("[1, 2] == dyn([1.0, 2.0])", True),
        ("dyn({'a': 1}) == {'a': 1.0}", True),
        ("dyn(true) == 1", False),
        ("word.size() == size('hello')", True),
        ("numbers[1]", 1),
        ("thing.a.b[2]", 3),
        ("thing['a'].b[0]", 1),
        ("3 in numbers && !('z' in table)", True),
        ("request.name", "dotted"),
        ("self.__if__ + 1", 4),
        ("has(self.name) && has(table.k) && !has(table.z)", True),
        ("has(thing.none)", True),
        ("thing.none == null", True),
        ("word == 'x' ? 1 : 2", 2),
        ("type(1) == int && type('') == string && type([]) == list", True),
        ("type(type(1)) == type", True),
        ("[[1], [2]].map(x, x[0])", [1, 2]),
        ("// why\n1", 1),
    ],
)
def test_the_core_language(expression: str, expected: Any) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("numbers.all(n, n > 0)", True),
        ("numbers.exists(n, n == 9)", False),
        ("numbers.exists_one(n, n == 3)", True),
        ("numbers.map(n, n * 2)", [6, 2, 4]),
        ("numbers.map(n, n > 1, n * 2)", [6, 4]),
        ("numbers.filter(n, n > 1)", [3, 2]),
        ("table.exists(k, k == 's')", True),
        ("numbers.all(i, n, i < 3)", True),
        ("numbers.transformList(i, n, i * n)", [0, 1, 4]),
        ("table.transformMap(k, v, k == 'k', v)", {"k": 1}),
        ("numbers.transformMapEntry(i, n, {string(n): i})", {"3": 0, "1": 1, "2": 2}),
        ("numbers.exists(n, n / 0 == 1 || n == 3)", True),
        ("numbers.all(n, n / 0 == 1 && n == 0)", False),
        ("cel.bind(x, 3, x + x)", 6),
        ("numbers.map(n, numbers.filter(m, m < n).size())", [2, 0, 1]),
        ("1 / 0 == 1 || true", True),
        ("1 / 0 == 1 && false", False),
        ("table.?k.orValue(5)", 1),
        ("table.?z.orValue(5)", 5),
        ("thing.?a.?b[?9].hasValue()", False),
        ("[?table.?z, ?table.?k]", [1]),
        ("{?'x': table.?z, 'y': 1}", {"y": 1}),
        ("optional.of(1).or(optional.none()).value()", 1),
        ("table.?k.optMap(v, v + 1).value()", 2),
        ("optional.ofNonZeroValue('').hasValue()", False),
    ],
)
def test_macros_and_optional_values(expression: str, expected: Any) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("int('12') + int(3.9) + int(2u)", 17),
        ("string(1.0) + string(2u) + string(true) + string(b'x')", "12truex"),
        ("double('1.5')", 1.5),
        ("bool('True')", True),
        ("int(timestamp('1970-01-01T00:01:00Z'))", 60),
        ("string(timestamp('2024-02-29T12:00:00.5+02:00'))", "2024-02-29T10:00:00.5Z"),
        ("string(duration('1h1m1.5s'))", "3661.5s"),
        (
            "timestamp('2024-01-01T00:00:00Z') + duration('24h')"
            " == timestamp('2024-01-02T00:00:00Z')",
            True,
        ),
        ("timestamp('2024-03-01T01:00:00Z').getDate('America/New_York')", 29),
        ("timestamp('2024-03-03T00:00:00Z').getDayOfWeek()", 0),
        ("duration('90m').getHours()", 1),
        ("'hello'.matches('^h.*o$')", True),
        ("'abc 123'.find('[0-9]+')", "123"),
        ("'1 2 3'.findAll('[0-9]', 2)", ["1", "2"]),
        ("'tacocat'.substring(0, 4).upperAscii()", "TACO"),
        ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
        ("['a', 'b'].join('-')", "a-b"),
        ("'hello mellow'.lastIndexOf('ello', 6)", 1),
        ("'hello hello'.replace('he', 'we', 1)", "wello hello"),
        ("'%s %d %.2f %x %b'.format(['a', 1, 2.0, 255, 5])", "a 1 2.00 ff 101"),
        ("strings.quote('a\"b')", '"a\\"b"'),
        ("numbers.sum() + numbers.min() + numbers.max()", 10),
        ("numbers.sort().isSorted()", True),
        ("numbers.indexOf(1)", 1),
        ("[[1], [2, 3]].flatten()", [1, 2, 3]),
        ("[1, 1, 2].distinct()", [1, 2]),
        ("lists.range(3).reverse()", [2, 1, 0]),
        ("numbers.first().value() == 3 && [].last().orValue(1) == 1", True),
        ("sets.equivalent([1, 1], [1])", True),
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", True),
        ("quantity('50k').add(20).sub(quantity('20')).asInteger()", 50000),
        ("isQuantity('1.5x')", False),
        ("semver('1.2.3-alpha.1').compareTo(semver('1.2.3'))", -1),
        ("semver('v1.01', true).minor()", 1),
        ("isSemver('1.2')", False),
        ("url('https://user@example.com:80/a%20b?x=1&x=2').getHostname()", "example.com"),
        ("url('https://e.com/?x=1&x=2').getQuery()", {"x": ["1", "2"]}),
        ("isURL('../relative')", False),
        ("ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('::ffff:1.2.3.4')", True),
        ("string(cidr('10.1.2.3/8').masked())", "10.0.0.0/8"),
        ("cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", True),
        ("ip.isCanonical('2001:DB8::1')", False),
        ("format.dns1123Label().validate('ok').hasValue()", False),
        ("format.named('uuid').value().validate('x').value()", ["does not match the UUID format"]),
    ],
)
def test_the_libraries(expression: str, expected: Any) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("-numbers[3]", "index out of bounds: 3"),
        ("table.z", "no such key: z"),
        ("thing.a + 1", "no such overload"),
        ("optional.none().value()", "optional.none() dereference"),
        ("[].max()", "max called on empty list"),
        ("quantity('x')", "quantities must match"),
        ("'a'.matches('(')", "error parsing regexp"),
        ("timestamp('yesterday')", "type conversion error"),
        ("{'a': 1, 'a': 2}", "insert failed: key a already exists"),
    ],
)
def test_an_evaluation_that_comes_to_nothing_says_why(expression: str, text: str) -> None:
    with pytest.raises(EvaluationError, match=text.replace("(", r"\(").replace(")", r"\)")):
        value(expression)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("unknown", "undeclared reference to 'unknown' (in container '')"),
        ("word + 1", "found no matching overload for '_+_' applied to '(string, int)'"),
        ("word.size(1)", "found no matching overload for 'size' applied to 'string.(int)'"),
        ("self.other", "undefined field 'other'"),
        ("word.field", "type 'string' does not support field selection"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("1.all(x, true)", "expression of type 'int' cannot be range of a comprehension"),
        ("numbers.all(x.y, true)", "argument must be a simple name"),
        ("numbers.all(x, x)", "found no matching overload for '_&&_' applied to '(bool, int)'"),
        ("has(word)", "invalid argument to has() macro"),
        ("1 +", "Syntax error: mismatched input '<EOF>'"),
        ("'open", "Syntax error: token recognition error"),
        ("while", "Syntax error: reserved identifier: while"),
        ("99999999999999999999", "invalid int literal"),
        ("(" * 200 + "1" + ")" * 200, "recursion limit exceeded"),
        ("1" + "+1" * 1000, "recursion limit exceeded"),
        ("x" * 200_000, "code point size exceeds limit"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_place(expression: str, text: str) -> None:
    with pytest.raises(CompileError) as raised:
        ENVIRONMENT.compile(expression)
    assert text in str(raised.value)


def test_a_report_names_line_and_column_of_every_problem() -> None:
    with pytest.raises(CompileError) as raised:
        ENVIRONMENT.compile("nothing ||\n  word.size() == 'a'")
    assert str(raised.value) == (
        "ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')\n"
        " | nothing ||\n"
        " | ^\n"
        "ERROR: <input>:2:15: found no matching overload for '_==_' applied to '(int, string)'\n"
        " |   word.size() == 'a'\n"
        " | ..............^"
    )


def test_many_terms_of_one_operator_do_not_nest() -> None:
    assert value(" || ".join(["false"] * 2000 + ["true"])) is True


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        ("1 + 2", 1),
        ("word == 'x'", 2),
        ("thing.a.b", 3),
        ("has(table.k)", 1),
        ("[1, 2, 3]", 10),
        ("{'a': 1}", 30),
        ("3 in numbers", 4),
        ("word.startsWith('he')", 2),
        ("numbers.all(n, true)", 11),
    ],
)
def test_costs_are_counted_as_everywhere(expression: str, cost: int) -> None:
    assert ENVIRONMENT.compile(expression).evaluate_with_cost(dict(VARIABLES))[1] == cost


def test_an_expression_is_stopped_at_its_limit() -> None:
    nested = ENVIRONMENT.compile(
        "lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, c >= 0)))"
    )
    with pytest.raises(CostLimitExceeded):
        nested.evaluate({})


def test_a_program_knows_the_type_of_its_value() -> None:
    shown = {text: str(ENVIRONMENT.compile(text).type) for text in ("1 > 2", "[word]", "thing.a")}
    assert shown == {"1 > 2": "bool", "[word]": "list(string)", "thing.a": "dyn"}
    assert kind(value("1u")) == "uint"
