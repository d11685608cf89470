"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

What ``kubectl apply``, ``edit``, ``set`` and ``label`` send. Lists with the patch strategy "merge"
merge item by item; a patch directs with keys of its own:

- ``$patch: replace | delete`` replaces or empties the object, or removes the list item, it is in;
- ``$retainKeys: [...]`` drops every key that is not named;
- ``$deleteFromPrimitiveList/F: [...]`` removes values from the list F;
- ``$setElementOrder/F: [...]`` orders the list F, items that the patch does not know in between.
"""

from typing import Any

from kybern.api.errors import StatusError, bad_request
from kybern.api.patch.json_patch import REJECTED
from kybern.api.patch.list_order import interleaved
from kybern.api.schema.normalise import copy_json
from kybern.api.schema.type_schema import TypeSchema
from kybern.api.schema.types import ANYTHING, Field, Shape, Type

Obj = dict[str, Any]

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_SET_ORDER = "$setElementOrder/"

_BAD_ORDER = "invalid patch format of setElementOrder list"
_BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
_BAD_PRIMITIVES = "invalid patch format of primitive list"


def apply(doc: Obj, patch: Any, schema: TypeSchema) -> Obj:
    """A new document; raises StatusError 400 or 422 with upstream's texts."""
    if not isinstance(patch, dict):
        raise bad_request(
            "json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    return _merge_objects(copy_json(doc), copy_json(patch), schema.type)


def _merge_objects(original: Obj, patch: Obj, kind: Type) -> Obj:
    """Merge ``patch`` into ``original``; both belong to this call and are used up."""
    if _DIRECTIVE in patch:
        return _directed(patch)
    _retain_keys(original, patch)
    for key in [key for key in patch if key.startswith(_SET_ORDER)]:
        _merge_ordered_list(original, patch, key, kind)
    for key, change in patch.items():
        if key.startswith(_DELETE_FROM):
            _delete_from_list(original, key.removeprefix(_DELETE_FROM), change)
        elif change is None:
            original.pop(key, None)
        else:
            _merge_value(original, key, change, _field(kind, key))
    return original


def _directed(patch: Obj) -> Obj:
    directive = patch.pop(_DIRECTIVE)
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    raise bad_request(f"unknown patch type: {directive} in map: {patch}")


def _merge_value(original: Obj, key: str, change: Any, field: Field) -> None:
    current = original.get(key)
    if isinstance(current, dict) and isinstance(change, dict):
        if "replace" in field.patch_strategies:
            original[key] = change
        else:
            original[key] = _merge_objects(current, change, field.type)
    elif isinstance(current, list) and isinstance(change, list):
        if "merge" in field.patch_strategies:
            original[key] = _merge_lists(current, change, field)
        else:
            original[key] = change
    else:
        stripped = _without_directives(_without_nulls(change))
        if stripped is _DROPPED:
            original.pop(key, None)
        else:
            original[key] = stripped


def _retain_keys(original: Obj, patch: Obj) -> None:
    if _RETAIN_KEYS not in patch:
        return
    retained = patch.pop(_RETAIN_KEYS)
    if not isinstance(retained, list):
        raise bad_request(_BAD_RETAIN_KEYS)
    for key, change in patch.items():
        named = key in retained or change is None
        if not named and not key.startswith((_DELETE_FROM, _SET_ORDER)):
            raise bad_request(_BAD_RETAIN_KEYS)
    for key in [key for key in original if key not in retained]:
        del original[key]


def _delete_from_list(original: Obj, key: str, deleted: Any) -> None:
    if not isinstance(deleted, list):
        raise bad_request(_BAD_PRIMITIVES)
    current = original.get(key)
    if isinstance(current, list):
        original[key] = [item for item in current if item not in deleted]


def _merge_ordered_list(original: Obj, patch: Obj, directive: str, kind: Type) -> None:
    """Merge the one list that the directive names, in the order that it gives."""
    order = patch.pop(directive)
    key = directive.removeprefix(_SET_ORDER)
    field = _field(kind, key)
    current, change = original.get(key, []), patch.pop(key, [])
    if not all(isinstance(value, list) for value in (order, current, change)):
        raise bad_request(_BAD_ORDER)
    if key not in original and not change:
        return
    merge_key = field.merge_key
    _require_order(change, order, merge_key)
    if key in original and change:
        if "merge" in field.patch_strategies:
            merged = _merge_lists(copy_json(current), change, field)
        else:
            merged = change
    else:
        stripped = _without_directives(change)
        merged = current if key in original else stripped
    original[key] = interleaved(merged, order, current, merge_key)


def _require_order(change: list[Any], order: list[Any], merge_key: str) -> None:
    """The patch's items must come in the order that the directive gives."""
    named = iter([_identity(item, merge_key) for item in order])
    for item in change:
        if isinstance(item, dict) and _DIRECTIVE in item:
            continue
        identity = _identity(item, merge_key)
        if order and not any(identity == other for other in named):
            raise bad_request(
                f"The order in patch list:\n{change}\n doesn't match $setElementOrder list:\n"
                f"{order}\n"
            )


def _merge_lists(original: list[Any], patch: list[Any], field: Field) -> list[Any]:
    if not original and not patch:
        return original
    if not _are_objects([*original, *patch]):
        merged = list({_hashable(item): item for item in [*original, *patch]}.values())
        return interleaved(merged, patch, original, "")
    if not field.merge_key:
        raise bad_request(f"cannot merge lists without merge key for {field.type.go_name}")
    kept, changes = _apply_item_directives(original, patch, field.merge_key)
    merged = _merge_items(kept, changes, field)
    for item in merged:
        _key_of(item, field.merge_key)
    return interleaved(merged, changes, original, field.merge_key)


def _are_objects(items: list[Any]) -> bool:
    """Whether a list merges by key; refuses lists of lists and of mixed types."""
    if any(isinstance(item, list) for item in items):
        error = StatusError(422, "Invalid", REJECTED, {})
        error.add_note("lists of lists are not supported")
        raise error
    objects = [isinstance(item, dict) for item in items]
    if any(objects) and not all(objects):
        raise bad_request(f"list element types are not identical: {items}")
    return all(objects)


def _apply_item_directives(
    original: list[Obj], patch: list[Obj], merge_key: str
) -> tuple[list[Obj], list[Obj]]:
    """What stays of the list, and the items that merge into it."""
    plain: list[Obj] = []
    kept = list(original)
    replaced = False
    for item in patch:
        directive = item.get(_DIRECTIVE)
        if _DIRECTIVE not in item:
            plain.append(item)
        elif directive == "delete":
            identity = _key_of(item, merge_key)
            kept = [other for other in kept if other.get(merge_key) != identity]
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise bad_request("merging lists cannot yet be specified in the patch")
        else:
            raise bad_request(f"unknown patch type: {directive} in map: {item}")
    return (plain, []) if replaced else (kept, plain)


def _merge_items(original: list[Obj], patch: list[Obj], field: Field) -> list[Obj]:
    merged = list(original)
    merge_key = field.merge_key
    for change in patch:
        identity = _key_of(change, merge_key)
        for index, item in enumerate(merged):
            if merge_key in item and item[merge_key] == identity:
                merged[index] = _merge_objects(item, change, field.type.element)
                break
        else:
            merged.append(_without_nulls(change))
    return merged


def _key_of(item: Obj, merge_key: str) -> Any:
    if merge_key not in item:
        raise bad_request(f"map: {item} does not contain declared merge key: {merge_key}")
    return item[merge_key]


def _identity(item: Any, merge_key: str) -> Any:
    return item.get(merge_key) if merge_key and isinstance(item, dict) else item


def _hashable(item: Any) -> tuple[type, Any]:
    # true and 1 are equal and hash alike in Python, but are two JSON values.
    return (type(item), item)


def _field(kind: Type, key: str) -> Field:
    if kind.shape is Shape.STRUCT:
        found = kind.fields.get(key)
        if found is not None:
            return found
    if kind.shape is Shape.MAP:
        return Field(key, kind.element)
    return Field(key, ANYTHING)


_DROPPED = object()


def _without_directives(value: Any) -> Any:
    """What stays of a value that there is nothing to merge with; _DROPPED if nothing does."""
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return _DROPPED
        stripped = {key: _without_directives(item) for key, item in value.items()}
        return {key: item for key, item in stripped.items() if item is not _DROPPED}
    if isinstance(value, list):
        items = [_without_directives(item) for item in value]
        return [item for item in items if item is not _DROPPED]
    return value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
