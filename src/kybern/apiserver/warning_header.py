"""The Warning header of a response: what a request did that its client should know.

The pipeline calls it with the texts that admission, validation and decoding have left. The header
is bounded, because proxies and clients refuse long ones: texts are cut, and the last ones dropped.
"""

from collections.abc import Sequence
from itertools import accumulate

LONGEST_HEADER = 4 * 1024
LONGEST_CUT_TEXT = 256


def warning_header(texts: Sequence[str]) -> str:
    """The texts as one header, cut as upstream cuts them if they are too long together."""
    lengths = list(accumulate(len(text) for text in texts))
    too_long = next((i for i, length in enumerate(lengths) if length > LONGEST_HEADER), None)
    if too_long is None:
        return ", ".join(map(_warning, texts))
    shown: list[str] = []
    length = 0
    for index, text in enumerate(texts):
        # The text that was too much is still shown; those behind it while there is room.
        if index > too_long and length >= LONGEST_HEADER:
            break
        cut = text[:LONGEST_CUT_TEXT]
        shown.append(_warning(cut))
        length += len(cut)
    return ", ".join(shown)


def _warning(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
