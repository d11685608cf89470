"""The Warning header stays within its bound, whatever a request is warned of."""

from kybern.apiserver.warning_header import LONGEST_CUT_TEXT, LONGEST_HEADER, warning_header


def test_texts_are_quoted_and_joined() -> None:
    assert warning_header(['a "b"', "c\\d"]) == r'299 - "a \"b\"", 299 - "c\\d"'


def test_texts_that_are_too_long_together_are_cut() -> None:
    header = warning_header(["x" * LONGEST_HEADER, "y"])
    assert header == f'299 - "{"x" * LONGEST_CUT_TEXT}", 299 - "y"'


def test_the_last_texts_are_dropped() -> None:
    texts = [f"{number:03}" + "x" * 600 for number in range(100)]
    shown = warning_header(texts).split(", ")
    assert len(shown) == LONGEST_HEADER // LONGEST_CUT_TEXT
    assert shown[-1].startswith('299 - "015')
