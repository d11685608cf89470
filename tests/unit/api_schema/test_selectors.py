"""Label and field selectors: parsing, printing, matching, and upstream's complaints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.errors import StatusError
from kybern.api.selectors import FieldSelector, LabelSelector


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        ("x", "x"),
        ("!x", "!x"),
        ("b=1,a=2", "a=2,b=1"),
        ("a==b", "a==b"),
        ("a != b", "a!=b"),
        ("x in (b, a,)", "x in (,a,b)"),
        ("x notin ()", "x notin ()"),
        ("in in (in)", "in in (in)"),
        ("a>1,b<2", "a>1,b<2"),
        ("a=", "a="),
    ],
)
def test_label_selectors_print_as_upstream_prints_them(text: str, printed: str) -> None:
    assert str(LabelSelector.parse(text)) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("(", "found '(', expected: !, identifier, or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        ("a/b/c=d", 'unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label'),
        ("a=%", 'unable to parse requirement: values[0][a]: Invalid value: "%": a valid label'),
        ("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt'"),
        ("a" * 70_000, "the label selector is too long"),
    ],
)
def test_bad_label_selectors_are_refused(text: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        LabelSelector.parse(text)
    assert caught.value.code == 400
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b,c)", {"a": "c"}, True),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a>5", {"a": "6"}, True),
        ("a>5", {"a": "x"}, False),
        ("a<5", {}, False),
    ],
)
def test_matching(text: str, labels: dict[str, str], matches: bool) -> None:
    assert LabelSelector.parse(text).matches(labels) is matches


def test_selector_objects() -> None:
    selector = LabelSelector.from_object(
        {
            "matchLabels": {"b": "1"},
            "matchExpressions": [
                {"key": "a", "operator": "NotIn", "values": ["y", "x"]},
                {"key": "c", "operator": "Exists"},
            ],
        }
    )
    assert str(selector) == "a notin (x,y),b=1,c"
    assert selector.matches({"b": "1", "c": ""})
    assert not LabelSelector.from_object(None).matches({})
    assert LabelSelector.from_object({}).matches({"any": "thing"})
    with pytest.raises(StatusError, match="is not a valid label selector operator"):
        LabelSelector.from_object({"matchExpressions": [{"key": "a", "operator": "Near"}]})
    with pytest.raises(StatusError, match="values set can't be empty"):
        LabelSelector.from_object({"matchExpressions": [{"key": "a", "operator": "In"}]})


_words = st.from_regex(r"[a-z]([a-z0-9.-]{0,6}[a-z0-9])?", fullmatch=True)


@given(st.dictionaries(_words, _words, max_size=4))
def test_printed_selectors_parse_to_themselves(labels: dict[str, str]) -> None:
    selector = LabelSelector.from_labels(labels)
    assert LabelSelector.parse(str(selector)) == selector
    assert selector.matches(labels)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused_with_400(text: str) -> None:
    for parse in (LabelSelector.parse, FieldSelector.parse):
        try:
            parse(text)
        except StatusError as problem:
            assert problem.code == 400


def test_field_selectors() -> None:
    selector = FieldSelector.parse(r"spec.nodeName!=,metadata.name==a\,b")
    assert str(selector) == r"metadata.name=a\,b,spec.nodeName!="
    assert selector.matches({"metadata.name": "a,b", "spec.nodeName": "n"})
    assert not selector.matches({"metadata.name": "a,b"})
    assert selector.exact("metadata.name") == "a,b"
    assert selector.exact("spec.nodeName") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "invalid selector: 'abc'; can't understand 'abc'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_bad_field_selectors_are_refused(text: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        FieldSelector.parse(text)
    assert caught.value.message == message
