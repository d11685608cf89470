"""JSON patch (RFC 6902), with the messages of the library that upstream uses.

The growth that ``copy`` operations cause is bounded, as are the operations: a small patch must not
make a large object.
"""

from collections.abc import Callable
from typing import Any

import orjson

from kybern.api.errors import StatusError, bad_request, request_too_large
from kybern.api.schema.body import too_deep
from kybern.api.schema.normalise import copy_json

Obj = dict[str, Any]

MOST_OPERATIONS = 10_000
REJECTED = "the server rejected our request due to an error in our request"
MOST_COPIED_BYTES = 3 * 1024 * 1024


class _Failed(Exception):
    """An operation does not apply."""


def apply(doc: Obj, ops: Any) -> Obj:
    """A new document; StatusError 400 for a malformed patch, 422 for one that does not apply."""
    _require_operations(ops)
    if len(ops) > MOST_OPERATIONS:
        raise request_too_large(
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{MOST_OPERATIONS}, got {len(ops)}"
        )
    document = _Document(copy_json(doc))
    try:
        for op in ops:
            document.run(op)
        if too_deep(document.root):
            raise _Failed("exceeded max depth")
        if not isinstance(document.root, dict):
            raise _Failed("the patched document is not an object")
    except _Failed as problem:
        raise _rejected(str(problem)) from None
    return document.root


def _rejected(why: str) -> StatusError:
    """Upstream's bare message; what went wrong is for whoever debugs the server."""
    error = StatusError(422, "Invalid", REJECTED, {})
    error.add_note(why)
    return error


def _require_operations(ops: Any) -> None:
    complaint = "json: cannot unmarshal {} into Go value of type jsonpatch.{}"
    if not isinstance(ops, list):
        raise bad_request(complaint.format(_kind_of(ops), "Patch"))
    for op in ops:
        if not isinstance(op, dict):
            raise bad_request(complaint.format(_kind_of(op), "Operation"))


class _Document:
    def __init__(self, root: Any) -> None:
        self.root = root
        self._copied = 0

    def run(self, op: Obj) -> None:
        name = op.get("op")
        operations: dict[Any, Callable[[Obj], None]] = {
            "add": self._add,
            "remove": self._remove,
            "replace": self._replace,
            "move": self._move,
            "test": self._test,
            "copy": self._copy,
        }
        operation = operations.get(name) if isinstance(name, str) else None
        if operation is None:
            raise _Failed(f"Unexpected kind: {name if isinstance(name, str) else 'unknown'}")
        operation(op)

    def _add(self, op: Obj) -> None:
        path = _text(op, "path", "add operation failed to decode path: missing value")
        value = copy_json(op.get("value"))
        if path == "":
            self.root = value
            return
        container, key = self._find(path)
        if container is None:
            raise _Failed(
                f'add operation does not apply: doc is missing path: "{path}": missing value'
            )
        _insert(container, key, value, f"error in add for path: '{path}'")

    def _remove(self, op: Obj) -> None:
        path = _text(op, "path", "remove operation failed to decode path: missing value")
        container, key = self._find(path)
        if container is None:
            raise _Failed(
                f'remove operation does not apply: doc is missing path: "{path}": missing value'
            )
        _delete(container, key, f"error in remove for path: '{path}'")

    def _replace(self, op: Obj) -> None:
        path = _text(op, "path", "replace operation failed to decode path: missing value")
        value = copy_json(op.get("value"))
        if path == "":
            self.root = value
            return
        container, key = self._find(path)
        if container is None:
            raise _Failed(
                f"replace operation does not apply: doc is missing path: {path}: missing value"
            )
        # A missing member of an object is simply set, as upstream's library has it.
        if isinstance(container, list):
            self._require_item(container, key, path)
        if isinstance(container, dict):
            container[key] = value
        else:
            container[_index(container, key)] = value

    @staticmethod
    def _require_item(container: list[Any], key: str, path: str) -> None:
        try:
            _index(container, key)
        except _Failed:
            raise _Failed(
                f"replace operation does not apply: doc is missing key: {path}: missing value"
            ) from None

    def _move(self, op: Obj) -> None:
        source = _text(op, "from", "move operation failed to decode from: missing value")
        container, key = self._find(source)
        if container is None:
            raise _Failed(
                f"move operation does not apply: doc is missing from path: {source}: missing value"
            )
        where = f"error in move for path: '{key}'"
        value = _labelled(where, lambda: _get(container, key))
        _delete(container, key, where)
        path = _text(op, "path", "move operation failed to decode path: missing value")
        container, key = self._find(path)
        if container is None:
            raise _Failed(
                "move operation does not apply: doc is missing destination path: "
                f"{path}: missing value"
            )
        _insert(container, key, value, f"error in move for path: '{path}'")

    def _copy(self, op: Obj) -> None:
        source = _text(op, "from", "copy operation failed to decode from: missing value")
        container, key = self._find(source)
        if container is None:
            raise _Failed(
                f"copy operation does not apply: doc is missing from path: {source}: missing value"
            )
        where = f"error in copy for from: '{source}'"
        value = _labelled(where, lambda: _get(container, key))
        path = _text(op, "path", "copy operation failed to decode path: missing value")
        target, key = self._find(path)
        if target is None:
            raise _Failed(
                "copy operation does not apply: doc is missing destination path: "
                f"{path}: missing value"
            )
        if too_deep(value):
            raise _Failed("exceeded max depth")
        self._copied += len(orjson.dumps(value))
        if self._copied > MOST_COPIED_BYTES:
            raise _Failed(
                "Unable to copy, the accumulated size increase of copy operations is "
                f"{self._copied}, exceeding the limit {MOST_COPIED_BYTES}"
            )
        _insert(target, key, copy_json(value), "error while adding value during copy")

    def _test(self, op: Obj) -> None:
        path = _text(op, "path", "test operation failed to decode path: missing value")
        wanted = op.get("value")
        failed = _Failed(f"testing value {path} failed: test failed")
        if path == "":
            if not _equal(self.root, wanted):
                raise failed
            return
        container, key = self._find(path)
        if container is None:
            raise _Failed(f"test operation does not apply: is missing path: {path}: missing value")
        found = _labelled(f"error in test for path: '{path}'", lambda: _get(container, key))
        if not _equal(found, wanted):
            raise failed

    def _find(self, path: str) -> tuple[Any, str]:
        """The container that holds the path's last step, and that step; None if it is missing."""
        steps = path.split("/")
        if len(steps) < 2:
            return None, ""
        *between, last = [step.replace("~1", "/").replace("~0", "~") for step in steps[1:]]
        container = self.root
        if not isinstance(container, dict | list):
            return None, ""
        for step in between:
            try:
                container = _get(container, step)
            except _Failed:
                return None, ""
            if not isinstance(container, dict | list):
                return None, ""
        return container, last


def _text(op: Obj, member: str, otherwise: str) -> str:
    value = op.get(member)
    if not isinstance(value, str):
        raise _Failed(otherwise)
    return value


def _get(container: Any, key: str) -> Any:
    if isinstance(container, list):
        return container[_index(container, key)]
    return container.get(key)


def _index(container: list[Any], key: str, length: int | None = None) -> int:
    """A list index as the patch names it; negative ones count from the end, as upstream's do."""
    try:
        index = int(key)
    except ValueError:
        raise _Failed(f'strconv.Atoi: parsing "{key}": invalid syntax') from None
    bound = len(container) if length is None else length
    if not -bound <= index < bound:
        raise _Failed(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + bound if index < 0 else index


def _insert(container: Any, key: str, value: Any, where: str) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:
        index = _labelled(where, lambda: _index(container, key, len(container) + 1))
        container.insert(index, value)


def _delete(container: Any, key: str, where: str) -> None:
    if isinstance(container, list):
        del container[_labelled(where, lambda: _index(container, key))]
    elif key not in container:
        raise _Failed(f"{where}: Unable to remove nonexistent key: {key}: missing value")
    else:
        del container[key]


def _labelled(where: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except _Failed as problem:
        raise _Failed(f"{where}: {problem}") from None


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1, though 1 equals 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return (type(left) is type(right) and bool(left == right)) or _same_number(left, right)


def _same_number(left: Any, right: Any) -> bool:
    return isinstance(left, int | float) and isinstance(right, int | float) and left == right


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
