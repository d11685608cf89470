"""Apply conflicts, in upstream's words: which fields another manager would lose."""

from typing import NamedTuple

from kybern.api.errors import StatusError
from kybern.api.managed_fields.field_set import printed_path
from kybern.api.managed_fields.managers import UPDATE, ManagerKey


class Conflict(NamedTuple):
    """A field that ``manager`` owns and the apply would change."""

    manager: ManagerKey
    path: tuple[str, ...]


def conflict_error(conflicts: list[Conflict]) -> StatusError:
    """409 Conflict with one cause per field."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_printed_manager(conflict.manager)}",
            "field": printed_path(conflict.path),
        }
        for conflict in conflicts
    ]
    return StatusError(409, "Conflict", _message(conflicts), {"causes": causes})


def _message(conflicts: list[Conflict]) -> str:
    if len(conflicts) == 1:
        [only] = conflicts
        where = printed_path(only.path)
        return (
            f"Apply failed with 1 conflict: conflict with {_printed_manager(only.manager)}: {where}"
        )
    lines = []
    by_manager: dict[ManagerKey, list[str]] = {}
    for conflict in conflicts:
        by_manager.setdefault(conflict.manager, []).append(printed_path(conflict.path))
    for manager in sorted(by_manager):
        lines.append(f"conflicts with {_printed_manager(manager)}:")
        lines += [f"- {path}" for path in by_manager[manager]]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def _printed_manager(key: ManagerKey) -> str:
    text = f'"{key.manager}"'
    if key.subresource:
        text += f' with subresource "{key.subresource}"'
    return f"{text} using {key.api_version}" if key.operation == UPDATE else text
