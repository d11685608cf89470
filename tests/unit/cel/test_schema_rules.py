"""Rules of custom resources: what they see, when they hold, what they say, what they may cost."""

from typing import Any

import pytest

from kybern.api.cel.schema_rules import Rules
from kybern.api.errors import Obj
from kybern.api.validation.structural_schema import structural_schema


def schema(spec: Obj, *rules: Obj) -> Obj:
    return {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": spec}},
        "x-kubernetes-validations": list(rules),
    }


def judged(shape: Obj, new: Any, old: Any = None) -> list[str]:
    assert structural_schema(shape, "schema") == []
    rules = Rules.of(shape, root=True)
    assert rules is not None
    return [f"{e.reason} {e}" for e in rules.judge(new, old)]


NUMBER = {"type": "integer"}
TEXT = {"type": "string"}


def test_a_rule_that_does_not_hold_is_told() -> None:
    shape = schema({"min": NUMBER, "max": NUMBER}, {"rule": "self.spec.min <= self.spec.max"})
    assert judged(shape, {"spec": {"min": 1, "max": 2}}) == []
    assert judged(shape, {"spec": {"min": 3, "max": 2}}) == [
        "FieldValueInvalid <nil>: Invalid value: failed rule: self.spec.min <= self.spec.max"
    ]


def test_messages_reasons_and_paths_are_the_rules_own() -> None:
    shape = schema(
        {"a": NUMBER},
        {"rule": "self.spec.a > 1", "message": "too small", "fieldPath": ".spec.a"},
        {"rule": "self.spec.a > 2", "reason": "FieldValueForbidden", "message": "no"},
        {"rule": "self.spec.a > 3", "messageExpression": "'was ' + string(self.spec.a)"},
    )
    assert judged(shape, {"spec": {"a": 1}}) == [
        "FieldValueInvalid spec.a: Invalid value: too small",
        "FieldValueForbidden <nil>: Forbidden: no",
        "FieldValueInvalid <nil>: Invalid value: was 1",
    ]


def test_rules_stand_at_every_depth() -> None:
    inner = {**TEXT, "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]}
    spec = {
        "list": {"type": "array", "items": inner},
        "map": {"type": "object", "additionalProperties": inner},
    }
    assert judged(schema(spec), {"spec": {"list": ["ab", "b"], "map": {"k": "c"}}}) == [
        "FieldValueInvalid spec.list[1]: Invalid value: \"b\": failed rule: self.startsWith('a')",
        "FieldValueInvalid spec.map[k]: Invalid value: \"c\": failed rule: self.startsWith('a')",
    ]


def test_changes_are_judged_where_values_can_be_told_apart() -> None:
    fixed = {**TEXT, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    items = {"type": "object", "properties": {"name": TEXT, "value": fixed}, "required": ["name"]}
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    spec = {"one": fixed, "list": {"type": "array", "items": items, **keyed}}
    old = {"spec": {"one": "a", "list": [{"name": "x", "value": "1"}]}}
    assert judged(schema(spec), old) == []
    new = {"spec": {"one": "b", "list": [{"name": "y", "value": "2"}, {"name": "x", "value": "3"}]}}
    assert judged(schema(spec), new, old) == [
        'FieldValueInvalid spec.one: Invalid value: "b": failed rule: self == oldSelf',
        'FieldValueInvalid spec.list[1].value: Invalid value: "3": failed rule: self == oldSelf',
    ]


def test_an_optional_old_value_is_seen_at_creation_too() -> None:
    rule = {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": True}
    shape = schema({"a": {**TEXT, "x-kubernetes-validations": [rule]}})
    assert judged(shape, {"spec": {"a": "first"}}) == []
    assert len(judged(shape, {"spec": {"a": "second"}})) == 1
    assert judged(shape, {"spec": {"a": "second"}}, {"spec": {"a": "first"}}) == []


def test_what_was_wrong_before_is_no_obstacle_to_other_changes() -> None:
    strict = {**NUMBER, "x-kubernetes-validations": [{"rule": "self < 5"}]}
    shape = schema({"a": strict, "b": NUMBER})
    assert judged(shape, {"spec": {"a": 9, "b": 2}}, {"spec": {"a": 9, "b": 1}}) == []
    assert len(judged(shape, {"spec": {"a": 8, "b": 2}}, {"spec": {"a": 9, "b": 1}})) == 1


def test_names_formats_and_the_resource_itself_are_seen() -> None:
    spec = {
        "if": NUMBER,
        "max-age": {"type": "string", "format": "duration"},
        "at": {"type": "string", "format": "date-time"},
        "ratio": {"type": "number"},
        "port": {"x-kubernetes-int-or-string": True},
    }
    shape = schema(
        spec,
        {"rule": "self.spec.__if__ == 1 && self.spec.max__dash__age > duration('1m')"},
        {"rule": "self.spec.at < timestamp('2030-01-01T00:00:00Z') && self.spec.ratio * 2.0 > 1.0"},
        {"rule": "type(self.spec.port) == int && self.metadata.name == 'x' && self.kind == 'K'"},
    )
    held = {"if": 1, "max-age": "2m", "at": "2020-01-01T00:00:00Z", "ratio": 1, "port": 80}
    assert judged(shape, {"kind": "K", "metadata": {"name": "x"}, "spec": held}) == []


def test_a_rule_that_fails_says_why() -> None:
    shape = schema({"a": NUMBER}, {"rule": "self.spec.a > 0"})
    assert judged(shape, {"spec": {}}) == [
        'FieldValueInvalid <nil>: Invalid value: "object": '
        "no such key: a evaluating rule: self.spec.a > 0"
    ]


def test_all_rules_of_an_object_share_a_budget() -> None:
    costly = "self.all(a, self.all(b, a == b || a != b))"
    items = {"type": "array", "items": NUMBER, "x-kubernetes-validations": [{"rule": costly}]}
    shape = schema({"lists": {"type": "array", "items": items}})
    found = judged(shape, {"spec": {"lists": [list(range(300))] * 60}})
    assert len(found) == 1 and "running out of cost budget" in found[0]
    one = schema({"list": items})
    (error,) = judged(one, {"spec": {"list": list(range(2000))}})
    assert "no further validation rules will be run due to call cost exceeds limit" in error


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"rule": " "}, "rule is not specified"),
        ({"rule": "self.nope"}, "compilation failed: ERROR: <input>:1:5: undefined field 'nope'"),
        ({"rule": "self.a"}, "cel expression must evaluate to a bool"),
        ({"rule": "true", "message": "a\nb"}, "must not contain line breaks"),
        ({"rule": "true &&\ntrue"}, "message must be specified if rule contains line breaks"),
        ({"rule": "true", "reason": "Because"}, "Unsupported value"),
        ({"rule": "true", "fieldPath": "a..b"}, "must be a valid path"),
        ({"rule": "true", "messageExpression": "1"}, "must evaluate to a string"),
        ({"rule": "true", "optionalOldSelf": True}, "may not be set if oldSelf is not used"),
    ],
)
def test_a_definition_with_such_a_rule_is_refused(rule: Obj, text: str) -> None:
    shape = {"type": "object", "properties": {"a": NUMBER}, "x-kubernetes-validations": [rule]}
    (error,) = structural_schema(shape, "schema")
    assert error.field.startswith("schema.x-kubernetes-validations[0].")
    assert text in error.message


def test_items_without_keys_have_no_past() -> None:
    fixed = {**TEXT, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    (error,) = structural_schema(schema({"list": {"type": "array", "items": fixed}}), "schema")
    assert "oldSelf cannot be used on the uncorrelatable portion" in error.message
