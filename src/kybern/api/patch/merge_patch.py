"""JSON merge patch (RFC 7386): objects merge, null deletes, everything else replaces."""

from typing import Any

from kybern.api.errors import bad_request
from kybern.api.schema.normalise import copy_json

Obj = dict[str, Any]


def apply(doc: Obj, patch: Any) -> Obj:
    """A new document; raises StatusError 400 if the patch is not an object."""
    if not isinstance(patch, dict):
        raise bad_request("Invalid JSON Patch")
    return _merged(doc, patch)


def _merged(target: Obj, patch: Obj) -> Obj:
    out = {name: copy_json(value) for name, value in target.items() if name not in patch}
    for name, change in patch.items():
        if change is None:
            continue
        if isinstance(change, dict):
            current = target.get(name)
            out[name] = _merged(current if isinstance(current, dict) else {}, change)
        else:
            out[name] = copy_json(change)
    return out
