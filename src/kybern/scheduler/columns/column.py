"""One number per node row: an int64 numpy array, with a memoryview for single cells.

Vector code uses ``values``; scalar code uses ``cells``, which is several times cheaper for one
number. Both are replaced when the table grows, so readers keep the column and never the array.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


def cells_of(values: Values) -> memoryview:
    """Scalar access to an array; the buffer protocol is not in numpy's type hints."""
    return memoryview(values)  # type: ignore[arg-type]


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
