"""Files in upstream's form that say what was given to whom, with upstream's checksum.

The managers of CPUs and memory keep one each.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson


class Damaged(ValueError):
    """A file does not say what its policy has given."""


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all, even if the machine fails meanwhile. Blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(orjson.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def fnv(text: str) -> int:
    """FNV-1a in 32 bits. Upstream counts it over what Go's debugging print shows of a document."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
