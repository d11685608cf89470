"""What happens to objects of a kind on their way to the store, as small pure functions.

The API server's verbs call a :class:`Strategy` in upstream's order: ``default`` after decoding and
after each mutating admission step, ``prepare_for_create`` or ``prepare_for_update``, then
``validate`` or ``validate_update``. A kind declares only what is its own; the parts that all kinds
share (metadata, the separation of status, generations) are here. Objects are changed in place and
nothing here looks at a clock or at other objects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kybern.api.errors import FieldError, Obj
from kybern.api.user import UserInfo
from kybern.api.validation.metadata import (
    NameRule,
    common_metadata_changes,
    object_meta,
    object_meta_update,
    standard_finalizers,
)
from kybern.api.validation.names import dns_subdomain

Change = Callable[[Obj], None]
Replace = Callable[[Obj, Obj], None]
Check = Callable[[Obj], list[FieldError]]
CheckUpdate = Callable[[Obj, Obj], list[FieldError]]
Path = tuple[str, ...]

_CLIENT_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


def _unchanged(obj: Obj) -> None:
    """Most kinds have a step or two that does nothing."""


def _kept(new: Obj, old: Obj) -> None:
    """The same for steps that compare two objects."""


def _sound(obj: Obj) -> list[FieldError]:
    return []


def _sound_change(new: Obj, old: Obj) -> list[FieldError]:
    return []


def _no_warnings(obj: Obj) -> list[str]:
    return []


def _same_fields(obj: Obj, api_version: str) -> Obj:
    """Conversion between versions that differ in nothing but their name."""
    return {**obj, "apiVersion": api_version}


def spec_changed(new: Obj, old: Obj) -> bool:
    """The usual reason to count up ``metadata.generation``."""
    return bool(new.get("spec") != old.get("spec"))


@dataclass(frozen=True)
class Write:
    """What a subresource other than ``status`` may write: ``approval``, ``finalize``, ``resize``.

    ``prepare`` puts everything else back to the old object's; ``check`` returns the errors beside
    those of the metadata.
    """

    prepare: Replace
    check: CheckUpdate = _sound_change


@dataclass(frozen=True)
class Strategy:
    """One kind's rules. ``new`` and ``old`` are whole objects in the storage version, except that
    ``default`` sees the version of the request.

    ``generation`` tells whether a change counts up ``metadata.generation``; None where the kind
    has no generation. ``status`` tells whether the main resource must leave ``status`` alone.
    ``status_fields`` are the top-level fields that the status subresource writes.
    ``record_user`` writes the requesting user into the object, before ``prepare_for_create``.
    ``stamp`` fills in times that are defaults of the resource itself: the object, the time now.
    ``date`` fills in times that the client left out of a subresource: new, old, and the time now.
    ``read`` brings what was stored under an earlier schema up to this one, whenever it is read.
    ``create_keeps_status`` is for nodes, which register with their status.
    ``resets`` names by subresource ("" for the resource itself) what a write puts back to the old
    object's, where that is more than the status, or for the status more than the spec.
    ``check_as`` and ``check_update_as`` are rules of one ``apiVersion`` of the request alone.
    ``checks_on_update`` tells how often the whole object is judged once more when it changes, and
    so how often a cause is repeated; 0 where upstream validates only the change.
    ``metadata_checks`` tells how often a kind looks at the metadata of an update once more, and so
    how often a cause is repeated: 1 at the change, 2 also at the new object as if it were created.
    ``any_finalizer`` tells that finalizers need no domain, as in custom resources.
    """

    default: Change = _unchanged
    create: Change = _unchanged
    update: Replace = _kept
    check: Check = _sound
    check_update: CheckUpdate = _sound_change
    update_status: Replace = _kept
    check_status: CheckUpdate = _sound_change
    convert: Callable[[Obj, str], Obj] = _same_fields
    warnings: Callable[[Obj], list[str]] = _no_warnings
    update_warnings: Callable[[Obj, Obj], list[str]] | None = None
    check_as: Mapping[str, Check] = field(default_factory=dict)
    check_update_as: Mapping[str, CheckUpdate] = field(default_factory=dict)
    name_rule: NameRule = dns_subdomain
    namespaced: bool = True
    generation: Callable[[Obj, Obj], bool] | None = None
    status: bool = False
    create_keeps_status: bool = False
    status_fields: tuple[str, ...] = ("status",)
    status_keeps_labels: bool = False
    checks_on_update: int = 1
    metadata_checks: int = 1
    status_metadata_checks: int = 1
    any_finalizer: bool = False
    allow_create_on_update: bool = False
    allow_unconditional_update: bool = True
    default_propagation: str = "Background"
    grace_period: Callable[[Obj, int | None], int] | None = None
    record_user: Callable[[Obj, UserInfo], None] | None = None
    stamp: Callable[[Obj, str], None] | None = None
    date: Callable[[Obj, Obj, str], None] | None = None
    read: Change | None = None
    resets: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    writes: Mapping[str, Write] = field(default_factory=dict)

    @property
    def has_status(self) -> bool:
        return self.status

    def prepare_for_create(self, obj: Obj) -> None:
        """Drop what a client may not set; runs after name, UID and creation time are set."""
        if self.status and not self.create_keeps_status:
            for name in self.status_fields:
                obj.pop(name, None)
        if self.generation is not None:
            obj["metadata"]["generation"] = 1
        self.create(obj)

    def prepare_for_update(self, new: Obj, old: Obj) -> None:
        """Keep what the main resource may not write, and count the generation up."""
        _carry_generation(new, old)
        if self.status:
            _carry(new, old, self.status_fields)
        self.update(new, old)
        if self.generation is not None and self.generation(new, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_for_status_update(self, new: Obj, old: Obj) -> None:
        """Keep everything but the status (and the metadata that may change with it)."""
        _carry_generation(new, old)
        written = {"apiVersion", "kind", "metadata", *self.status_fields}
        _carry(new, old, [name for name in {**old, **new} if name not in written])
        if ("metadata",) in self.resets.get("status", ()):
            _carry(new["metadata"], old["metadata"], _CLIENT_METADATA)
        if self.status_keeps_labels:
            _carry(new["metadata"], old["metadata"], ("labels",))
        self.update_status(new, old)

    def validate(self, obj: Obj, requested: str = "") -> list[FieldError]:
        """Every error of a whole object, metadata first.

        ``requested`` is the ``apiVersion`` of the request, for kinds whose versions differ in
        what they ask for.
        """
        errors = self._metadata(obj.get("metadata") or {})
        errors += self.check(obj)
        if requested in self.check_as:
            errors += self.check_as[requested](obj)
        return errors

    def validate_update(self, new: Obj, old: Obj, requested: str = "") -> list[FieldError]:
        """Errors of the new object and of the change from the old one."""
        errors = self._metadata_update(new, old, self.metadata_checks)
        errors += self.check(new) * self.checks_on_update if self.checks_on_update else []
        errors += self.check_update(new, old)
        if requested in self.check_update_as:
            errors += self.check_update_as[requested](new, old)
        return errors

    def _metadata_update(self, new: Obj, old: Obj, checks: int) -> list[FieldError]:
        after, before = new["metadata"], old["metadata"]
        errors = common_metadata_changes(after, before, self.namespaced)
        if checks > 1:
            errors += self._metadata(after)
        if checks > 0:
            errors += object_meta_update(after, before) + self._finalizers(after)
        return errors

    def _metadata(self, metadata: Obj) -> list[FieldError]:
        errors = object_meta(metadata, self.namespaced, self.name_rule)
        return errors + self._finalizers(metadata)

    def _finalizers(self, metadata: Obj) -> list[FieldError]:
        return [] if self.any_finalizer else standard_finalizers(metadata)

    def prepare_for_write(self, subresource: str, new: Obj, old: Obj) -> None:
        """The same for a subresource named in ``writes``."""
        _carry_generation(new, old)
        self.writes[subresource].prepare(new, old)

    def validate_write(self, subresource: str, new: Obj, old: Obj) -> list[FieldError]:
        """Errors of a write to a subresource named in ``writes``."""
        errors = common_metadata_changes(new["metadata"], old["metadata"], self.namespaced)
        errors += object_meta_update(new["metadata"], old["metadata"])
        errors += self._finalizers(new["metadata"])
        errors += self.writes[subresource].check(new, old)
        return errors

    def validate_status_update(self, new: Obj, old: Obj) -> list[FieldError]:
        """Errors of a write to the status subresource."""
        errors = self._metadata_update(new, old, self.status_metadata_checks)
        errors += self.check_status(new, old)
        return errors


def _carry(new: Obj, old: Obj, names: "tuple[str, ...] | list[str]") -> None:
    for name in names:
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)


def _carry_generation(new: Obj, old: Obj) -> None:
    _carry(new["metadata"], old["metadata"], ("generation",))
