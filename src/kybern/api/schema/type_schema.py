"""TypeSchema: one kind's schema, as the API server's verbs use it.

A body goes through :meth:`TypeSchema.decode`: parsed within bounds, checked, and brought into the
normal form. Defaults, admission and validation work on what comes out; :meth:`normalise` brings
whatever they or a patch made of it into the normal form again.
"""

from dataclasses import dataclass, field
from functools import cache

from kybern.api.errors import bad_request
from kybern.api.schema.body import Malformed, read_body
from kybern.api.schema.builtin import builtin_type
from kybern.api.schema.check import Checker, WrongType
from kybern.api.schema.definitions import definition_of_kind
from kybern.api.schema.foreign_kind import foreign_kind, kind_problem
from kybern.api.schema.normalise import Irregular, reader
from kybern.api.schema.structural import structural_type
from kybern.api.schema.types import Obj, Type

_NO_VERSION = "couldn't get version/kind; json parse error: "
_SUMMARY_BYTES = 30


@dataclass(slots=True)
class Decoded:
    """A decoded body in normal form, with the paths that strict field validation refuses."""

    obj: Obj
    unknown: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)

    def strict_problems(self) -> list[str]:
        """One text per unknown or duplicate field, as Warning headers carry them."""
        return [f'unknown field "{path}"' for path in self.unknown] + [
            path if path.startswith("line ") else f'duplicate field "{path}"'
            for path in self.duplicates
        ]


class TypeSchema:
    """The schema of one kind in one version; ``type`` is the root of its type graph."""

    def __init__(self, group: str, version: str, kind: str, root: Type) -> None:
        self.group = group
        self.version = version
        self.kind = kind
        self.type = root
        self.api_version = f"{group}/{version}" if group else version

    @classmethod
    def from_structural(
        cls,
        openapi_v3_schema: Obj,
        preserve_unknown: bool = False,
        *,
        group: str = "",
        version: str = "",
        kind: str = "",
    ) -> "TypeSchema":
        """The schema of a custom resource, from its version's ``openAPIV3Schema``."""
        return cls(group, version, kind, structural_type(openapi_v3_schema, preserve_unknown))

    def decode(self, body: bytes, media_type: str = "application/json") -> Decoded:
        """Parse, check and normalise a body; raises StatusError 400 in upstream's words.

        A missing ``apiVersion`` or ``kind`` is filled in; ones of another kind are refused.
        """
        try:
            value, duplicates = read_body(body, media_type)
        except Malformed as problem:
            where = "" if str(problem).startswith("yaml: ") else _NO_VERSION
            raise self._unrecognized(f"{where}{problem}", body) from None
        # Like upstream's decoder, take null for an object without fields.
        value = {} if value is None else value
        kindless = kind_problem(value)
        if kindless:
            raise self._unrecognized(kindless, body)
        self._claim_kind(value)
        obj, unknown = self.read(value)
        return Decoded(obj, unknown, duplicates)

    def check(self, obj: Obj) -> list[str]:
        """The paths of unknown fields; raises StatusError 400 for a wrong type."""
        checker = Checker()
        try:
            checker.check(self.type, obj)
        except WrongType as problem:
            raise self._cannot_be_handled(str(problem)) from None
        return checker.unknown

    def normalise(self, obj: Obj) -> Obj:
        """A fresh object in normal form, without unknown fields; StatusError 400 as in check."""
        return self.read(obj)[0]

    def read(self, value: Obj) -> tuple[Obj, list[str]]:
        """The object in normal form and the paths of its unknown fields; StatusError 400."""
        read = reader(self.type)
        try:
            return read(value), []
        except Irregular:
            pass
        checker = Checker()
        try:
            pruned = checker.check(self.type, value)
            return read(pruned), checker.unknown
        except WrongType as problem:
            raise self._cannot_be_handled(str(problem)) from None
        except Irregular:
            raise self._cannot_be_handled("the object has values outside their range") from None

    def _claim_kind(self, value: Obj) -> None:
        """Fill in what is missing of apiVersion and kind; refuse others than this schema's."""
        api_version = value.get("apiVersion") or self.api_version
        kind = value.get("kind") or self.kind
        value["apiVersion"], value["kind"] = api_version, kind
        if (api_version, kind) == (self.api_version, self.kind):
            return
        group, _, version = api_version.rpartition("/")
        problem = foreign_kind(group, version, kind, self.group, self.kind)
        if problem:
            raise bad_request(
                f'{kind} in version "{version}" cannot be handled as a {self.kind}: {problem}'
            )
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({self.api_version})"
        )

    def _cannot_be_handled(self, why: str) -> Exception:
        return bad_request(
            f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: {why}'
        )

    def _unrecognized(self, why: str, body: bytes) -> Exception:
        return bad_request(
            f"the object provided is unrecognized (must be of type {self.kind}): {why} "
            f"({summary(body)})"
        )


def summary(body: bytes) -> str:
    """The start of a body for an error message; hexadecimal if it does not look like JSON."""
    if not body:
        return "<empty>"
    start = body[:_SUMMARY_BYTES]
    text = start.decode("utf-8", "replace") if body[:1] == b"{" else start.hex()
    return text + (" ..." if len(body) > _SUMMARY_BYTES else "")


@cache
def schema_for(group: str, version: str, kind: str) -> TypeSchema:
    """The schema of a built-in kind; KeyError if there is none. One for each, kept."""
    return TypeSchema(group, version, kind, builtin_type(definition_of_kind(group, version, kind)))
