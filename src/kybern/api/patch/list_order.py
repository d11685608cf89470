"""The order of a merged list: the patch's order for what it names, the server's for the rest."""

from typing import Any


def interleaved(
    merged: list[Any], patch_order: list[Any], server_order: list[Any], merge_key: str
) -> list[Any]:
    """``merged``, reordered.

    Items of ``patch_order`` come in that order. Each other item keeps its place relative to the
    first item of the patch that stands behind it in ``server_order``, as upstream has it.
    """
    in_patch = _positions(patch_order, merge_key)
    on_server = _positions(server_order, merge_key)
    known = [item for item in merged if _identity(item, merge_key) in in_patch]
    others = [item for item in merged if _identity(item, merge_key) not in in_patch]
    known.sort(key=lambda item: in_patch[_identity(item, merge_key)])
    others.sort(key=lambda item: on_server.get(_identity(item, merge_key), len(on_server)))
    out: list[Any] = []
    while others and known:
        left = on_server.get(_identity(others[0], merge_key))
        right = on_server.get(_identity(known[0], merge_key))
        before = left is not None and right is not None and left < right
        out.append(others.pop(0) if before else known.pop(0))
    return out + others + known


def _identity(item: Any, merge_key: str) -> tuple[str, Any]:
    value = item.get(merge_key) if merge_key and isinstance(item, dict) else item
    if isinstance(value, dict | list):
        return ("repr", repr(value))
    return (type(value).__name__, value)


def _positions(items: list[Any], merge_key: str) -> dict[tuple[str, Any], int]:
    positions: dict[tuple[str, Any], int] = {}
    for index, item in enumerate(items):
        positions.setdefault(_identity(item, merge_key), index)
    return positions
