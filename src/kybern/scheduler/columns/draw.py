"""Random rows."""

import random
from collections.abc import Iterator

import numpy as np

from kybern.scheduler.columns.column import Mask, Rows

# Where the mask holds for at least this share of all rows, trying rows beats listing them.
TRIED_SHARE = 16


def draw_row(mask: Mask, randomness: random.Random) -> int:
    """A row where the mask holds, each with the same chance; there is one."""
    count, total = int(np.count_nonzero(mask)), len(mask)
    if count * TRIED_SHARE < total:
        return int(np.flatnonzero(mask)[int(randomness.random() * count)])
    cells = memoryview(mask)  # type: ignore[arg-type]
    while not cells[row := int(randomness.random() * total)]:
        pass
    return row


def drawn(rows: Rows, randomness: random.Random) -> Iterator[int]:
    """All of the rows in random order, as far as anybody wants to know."""
    moved: dict[int, int] = {}
    for left in range(len(rows), 0, -1):
        position = int(randomness.random() * left)
        yield int(rows[moved.get(position, position)])
        moved[position] = moved.get(left - 1, left - 1)
