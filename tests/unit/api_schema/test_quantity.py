"""Quantities: what texts are read, and the one text each number is printed as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.quantity import Quantity, canonical


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"),
        ("1.5Gi", "1536Mi"),
        ("1.1Ki", "1126400m"),
        ("0.5Mi", "512Ki"),
        ("0.1", "100m"),
        ("1000m", "1"),
        ("0.0000000001", "1n"),
        ("-5m", "-5m"),
        ("+3", "3"),
        (".5", "500m"),
        ("5.", "5"),
        (".", "0"),
        ("Mi", "0"),
        ("0Mi", "0"),
        ("1E", "1E"),
        ("1E3", "1e3"),
        ("12e6", "12e6"),
        ("1e-1", "100e-3"),
        ("999999999999Gi", "9223372036854775807"),
        ("5000000", "5M"),
        (2, "2"),
        (0.1, "100m"),
    ],
)
def test_prints_the_canonical_text(given_text: str | int | float, expected: str) -> None:
    assert canonical(given_text) == expected


@pytest.mark.parametrize("text", ["", "a", "1.1.1", "1_0", "1 0", "1KI", True])
def test_refuses_what_is_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        Quantity.parse(text)


@pytest.mark.parametrize("text", ["1i", "1Gi2", "--1", "1e99999999999", "1e5000"])
def test_refuses_unknown_suffixes_and_huge_exponents(text: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        Quantity.parse(text)


def test_refuses_endless_numbers() -> None:
    with pytest.raises(ValueError, match="numeric part"):
        Quantity.parse("9" * 5000)


def test_rounds_away_from_zero() -> None:
    assert Quantity.parse("100m").value() == 1
    assert Quantity.parse("1001m").value() == 2
    assert Quantity.parse("1n").milli() == 1
    assert Quantity.parse("-1500m").value() == -2


def test_computes_exactly_and_keeps_the_first_family() -> None:
    total = Quantity.parse("0.1") + Quantity.parse("0.2")
    assert total == Quantity.parse("300m")
    assert str(Quantity.parse("1Gi") + Quantity.parse("1073741824")) == "2Gi"
    assert str(Quantity.parse("1Gi") - Quantity.parse("1Gi")) == "0"
    assert str(Quantity.parse("0") + Quantity.parse("1Mi")) == "1Mi"
    assert Quantity.parse("1") < Quantity.parse("1Ki") <= Quantity.parse("1024")


@given(
    st.integers(-(10**18), 10**18),
    st.sampled_from(["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "e-3", "E2"]),
)
def test_printing_keeps_the_number_and_is_stable(number: int, suffix: str) -> None:
    quantity = Quantity.parse(f"{number}{suffix}")
    printed = quantity.canonical()
    assert Quantity.parse(printed) == quantity
    assert canonical(printed) == printed


@given(st.text(alphabet="0123456789.eEinumkKMGTP+-", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        quantity = Quantity.parse(text)
    except ValueError:
        return
    assert Quantity.parse(quantity.canonical()) == quantity
