"""Files in upstream's form that say what was given to whom, with upstream's checksum.

The managers of CPUs and memory keep one each. A node may thus change between Kybern's kubelet and
upstream's without being drained. A file that is damaged, or that another policy wrote, is no reason
to guess: the kubelet does not start until the node was drained and the file removed.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson

from kybern.component.flags import BadFlag

T = TypeVar("T")


class Damaged(ValueError):
    """A file does not say what its policy has given."""


def restore(path: Path, manager: str, parse: Callable[[bytes], T]) -> T | None:
    """What an earlier kubelet kept, None if there was none. Blocks.

    ``parse`` raises ValueError for what cannot be believed; that is a BadFlag of the policy.
    """
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadFlag(
            f"could not restore state from checkpoint: {error}, please drain this node and "
            f'delete the {manager} manager checkpoint file "{path}" before restarting Kubelet'
        ) from None


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
