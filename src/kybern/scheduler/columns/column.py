"""One number per node row: an int64 numpy array, with a memoryview for single cells.

Vector code uses ``values``; scalar code uses ``cells``, which is several times cheaper for one
number. Both are replaced when the table grows, so readers keep the column and never the array.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

BLOCK = 8192
LARGEST_KEPT = 16 * 2**20


def cells_of(values: Values) -> memoryview:
    """Scalar access to an array; the buffer protocol is not in numpy's type hints."""
    return memoryview(values)  # type: ignore[arg-type]


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next array of this size or less.

    Else it gives every intermediate result back to the kernel, and getting clean pages for the next
    one costs more than the arithmetic. glibc learns from the largest block that was ever freed.
    """
    np.empty(LARGEST_KEPT, dtype=np.int8)


def blocks(count: int) -> Iterator[slice]:
    """All rows, in lots whose intermediate results stay in a processor's cache."""
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))


class Column:
    """A growable int64 column."""

    __slots__ = ("cells", "fill", "values")

    def __init__(self, capacity: int, fill: int = 0) -> None:
        self.fill = fill
        self.values: Values = np.full(capacity, fill, dtype=np.int64)
        self.cells = cells_of(self.values)

    def grow(self, capacity: int) -> None:
        grown = np.full(capacity, self.fill, dtype=np.int64)
        grown[: len(self.values)] = self.values
        self.values = grown
        self.cells = cells_of(grown)
