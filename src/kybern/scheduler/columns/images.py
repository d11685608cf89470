"""Which container images are on which nodes, and how large they are."""

from collections.abc import Iterable
from typing import Any

Obj = dict[str, Any]


class ImageTable:
    """Images by normalised name; ``version`` changes with any change of who has what."""

    def __init__(self) -> None:
        self.version = 0
        self._sizes: dict[str, int] = {}
        self._rows: dict[str, dict[int, None]] = {}
        self._on_row: dict[int, dict[str, None]] = {}

    def set(self, row: int, images: Iterable[Obj]) -> None:
        """What a node reports; the first node to report an image sets its size."""
        found = {
            normalised(name): image.get("sizeBytes", 0)
            for image in images
            for name in image.get("names") or ()
        }
        before = self._on_row.get(row, {})
        if found.keys() == before.keys():
            return
        self.version += 1
        for name in before:
            if name not in found:
                self._drop(name, row)
        for name, size in found.items():
            self._sizes.setdefault(name, size)
            self._rows.setdefault(name, {})[row] = None
        if found:
            self._on_row[row] = dict.fromkeys(found)
        else:
            self._on_row.pop(row, None)

    def __contains__(self, name: str) -> bool:
        return name in self._sizes

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def size(self, name: str) -> int:
        return self._sizes[name]

    def rows(self, name: str) -> list[int]:
        """The rows of the nodes that have the image."""
        return list(self._rows[name])

    def _drop(self, name: str, row: int) -> None:
        rows = self._rows[name]
        del rows[row]
        if not rows:
            del self._rows[name], self._sizes[name]


def normalised(name: str) -> str:
    """An image without a tag means ``:latest``."""
    return name if name.rfind(":") > name.rfind("/") else f"{name}:latest"
