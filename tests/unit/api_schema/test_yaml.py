"""The restricted YAML: which scalars are what, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api import yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("y", True),
        ("n", False),
        ("~", None),
        ("", None),
        ("012", 10),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:20", "1:20"),
        ("190:20:30", "190:20:30"),
        ("2020-01-01", "2020-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("'1'", "1"),
        ("!!binary aGk=", "hi"),
        ("1.2.3", "1.2.3"),
        ("12345678901234567890123", 1.2345678901234568e22),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    loaded = yaml.load(text)
    assert loaded == value
    assert type(loaded) is type(value)


def test_keys_become_strings_and_merge_keys_work() -> None:
    assert yaml.load("1: a\ntrue: b\nm: &m {x: 1}\no: {<<: *m, z: 2}\n") == {
        "1": "a",
        "true": "b",
        "m": {"x": 1},
        "o": {"x": 1, "z": 2},
    }


def test_duplicate_keys_are_reported_and_the_last_wins() -> None:
    assert yaml.load_with_duplicates("a: 1\nb: 2\na: 3\n") == (
        {"a": 3, "b": 2},
        ['line 3: key "a" already set in map'],
    )


def test_streams_skip_empty_documents() -> None:
    assert list(yaml.load_all("---\na: 1\n---\n---\nb: 2\n")) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: &a [*a]",
        "[" * 5000,
        "a: .inf",
        "? {a: b}\n: c",
        "a: &a " + "[x," * 9 + "x" + "]" * 9 + "\n" + "b: [" + "*a," * 20_000 + "x]",
    ],
)
def test_hostile_documents_are_refused(text: str) -> None:
    with pytest.raises(yaml.YamlError):
        yaml.load(text)


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
    | st.sampled_from(["y", "on", "1e3", "0o7", "1_0", "1:20", "2020-01-01", "~", ".5", "a\nb\n"])
)
_names = st.text("abc019-yn~", max_size=4)


@given(
    st.recursive(
        _scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(_names, v, max_size=3)
    )
)
def test_what_is_dumped_loads_again(value: Any) -> None:
    assert yaml.load(yaml.dump(value)) == value


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b"{a: " * 100_000, b"a: " + b"[" * 300 + b"]" * 300],
    ids=["open lists", "open maps", "deep"],
)
def test_nesting_ends_the_document_not_the_process(text: bytes) -> None:
    with pytest.raises(yaml.YamlError, match="max depth"):
        yaml.load(text)


def test_the_number_of_nodes_is_bounded() -> None:
    with pytest.raises(yaml.YamlError, match="too many nodes"):
        yaml.load(b"[" + b"~," * 300_000 + b"~]")
