"""One change of an object, seen in each of the versions that its managers wrote in.

A manager's fields are named as in the version of its write, so a change made through another
version is compared in the manager's own.
"""

from collections.abc import Callable

from kybern.api.errors import Obj
from kybern.api.managed_fields.compare import Comparison, compare
from kybern.api.managed_fields.field_set import FieldSet
from kybern.api.managed_fields.managers import Managers
from kybern.api.schema.type_schema import TypeSchema

Convert = Callable[[Obj, str], tuple[TypeSchema, Obj] | None]
"""An object of the request's version in the ``apiVersion`` named, with that version's schema; None
if there is no such version (any more)."""


class Change:
    """What a write changes; each version is compared once, when a manager of it is met."""

    def __init__(
        self,
        schema: TypeSchema,
        api_version: str,
        old: Obj,
        new: Obj,
        ignored: FieldSet,
        convert: Convert | None = None,
    ) -> None:
        self._schema = schema
        self._old = old
        self._new = new
        self._ignored = ignored
        self._convert = convert
        self.requested = compare(schema.type, old, new).without(ignored)
        self._seen: dict[str, Comparison | None] = {api_version: self.requested}

    def in_version(self, api_version: str) -> Comparison | None:
        """The comparison in a version; None where the kind is not served in it."""
        if self._convert is None:
            return self.requested
        if api_version not in self._seen:
            self._seen[api_version] = self._compared(self._convert, api_version)
        return self._seen[api_version]

    def _compared(self, convert: Convert, api_version: str) -> Comparison | None:
        # What a merge made is not yet in the normal form that conversions expect.
        old = convert(self._schema.normalise(self._old), api_version)
        new = convert(self._schema.normalise(self._new), api_version)
        if old is None or new is None:
            return None
        schema, before = old
        return compare(schema.type, before, new[1]).without(self._ignored)

    def forget_unserved(self, managers: Managers) -> None:
        """Drop managers of versions that are gone."""
        for key, managed in list(managers.items()):
            if self.in_version(managed.api_version) is None:
                del managers[key]
