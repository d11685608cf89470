"""How a stored object changes, whichever verb changes it: the compare-and-swap loop.

PUT, PATCH, apply and the writes to subresources give :func:`replace` a function that makes the new
object from the current one. It runs again from the freshest object as long as others win the race,
unless the client has named the version that it means.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from kybern.api.errors import (
    OBJECT_MODIFIED,
    FieldError,
    Obj,
    conflict,
    invalid,
    invalid_value,
)
from kybern.api.kinds import ServedKind
from kybern.apiserver.authorization.authorizer import forbidden_request
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call
from kybern.apiserver.creation import drop_duplicate_owners, store_new
from kybern.apiserver.field_managers import same_but_times
from kybern.apiserver.options import WriteOptions
from kybern.apiserver.request_info import Attributes
from kybern.apiserver.reservation import release, reserved
from kybern.store.interface import RevisionMismatch

# Each failed try means that somebody else's write went through, so this many in a row is a livelock
# of clients rather than bad luck.
TRIES = 100

Transform = Callable[[Obj | None], Awaitable[Obj]]
Change = Callable[[Obj, Obj], None]


class Written(NamedTuple):
    """What is stored now (or would be, on a dry run), and whether it is new."""

    stored: CachedObject | Obj
    created: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What a write may change: the main resource, its status, or another subresource.

    ``prepare`` puts back what this write may not touch; ``date`` fills in times that the client
    left out; ``validate`` judges the outcome.
    """

    prepare: Change
    validate: Callable[[Obj, Obj], list[FieldError]]
    warnings: Callable[[Obj, Obj], list[str]]
    allow_unconditional: bool
    may_create: bool = False
    date: Callable[[Obj, Obj, str], None] | None = None


def main_rules(served: ServedKind, *, may_create: bool = False) -> Rules:
    """The rules of a write to the resource itself."""
    strategy = served.strategy
    return Rules(
        strategy.prepare_for_update,
        lambda new, old: strategy.validate_update(new, old, served.api_version),
        strategy.update_warnings or (lambda new, old: strategy.warnings(new)),
        strategy.allow_unconditional_update,
        may_create or strategy.allow_create_on_update,
    )


def status_rules(served: ServedKind) -> Rules:
    """The rules of a write to the status subresource."""
    strategy = served.strategy
    return Rules(
        strategy.prepare_for_status_update,
        strategy.validate_status_update,
        lambda new, old: [],
        strategy.allow_unconditional_update,
        date=strategy.date,
    )


def subresource_rules(served: ServedKind, name: str) -> Rules:
    """The rules of a write to a subresource that is a part of the object, status included."""
    if name == "status":
        return status_rules(served)
    strategy = served.strategy
    return Rules(
        lambda new, old: strategy.prepare_for_write(name, new, old),
        lambda new, old: strategy.validate_write(name, new, old),
        lambda new, old: [],
        strategy.allow_unconditional_update,
        date=strategy.date,
    )


async def replace(
    call: Call,
    transform: Transform,
    options: WriteOptions,
    rules: Rules,
    *,
    uid: str = "",
) -> Written:
    """Change the object that the call names. ``uid`` is what it must have, if given.

    ``transform`` gets the current object in the storage version, which it owns, or None where
    the rules allow to create; it returns the new one in the storage version.
    """
    name = call.info.name
    key = call.key(name)
    for _ in range(TRIES):
        cached = call.cache.get(key)
        if cached is None:
            if not rules.may_create:
                raise call.not_found(name)
            await _authorize_creation(call)
            return Written(await store_new(call, await transform(None), options), True)
        old = owned(cached)
        if uid and uid != old["metadata"].get("uid"):
            raise _other_uid(call, key, uid, old)
        new = await transform(owned(cached))
        _check_version(call, new, old, rules)
        try:
            async with reserved(call, new, old, options.dry_run):
                final = await _changed(call, new, old, options, rules)
                if options.dry_run:
                    return Written(final)
                return Written(await _store(call, key, final, old, cached))
        except RevisionMismatch:
            continue
    raise conflict(call.info.resource, name, OBJECT_MODIFIED, call.info.group)


def owned(cached: CachedObject) -> Obj:
    """A stored object that the caller may change."""
    obj: Obj = orjson.loads(cached.payload)
    obj["metadata"]["resourceVersion"] = str(cached.mod_revision)
    return obj


async def _authorize_creation(call: Call) -> None:
    """Who may update may not always create; raises StatusError 403."""
    attributes = Attributes.of(call.user, call.info)
    attributes.verb = "create"
    decision = await call.services.authorizers.authorize(attributes)
    if not decision.allowed:
        raise forbidden_request(attributes, decision.reason)


async def _changed(call: Call, new: Obj, old: Obj, options: WriteOptions, rules: Rules) -> Obj:
    """The new object admitted, prepared, valid and in normal form."""
    call.stamp(new)
    attributes = call.attributes("UPDATE", new, old, options, options.dry_run)
    await call.services.admission.admit(attributes)
    drop_duplicate_owners(call, new["metadata"], admitted=True)
    rules.prepare(new, old)
    if rules.date is not None:
        rules.date(new, old, call.services.clock.timestamp())
    _carry_metadata(new["metadata"], old["metadata"])
    errors = rules.validate(new, old)
    if errors:
        raise invalid(call.kind.kind, call.info.name, errors, call.kind.group)
    for text in rules.warnings(new, old):
        call.warn(text)
    final = call.services.storage_schema(call.kind).normalise(new)
    if same_but_times(final, old):
        final["metadata"] = old["metadata"]
    attributes.object = final
    await call.services.admission.validate(attributes)
    return final


async def _store(
    call: Call, key: str, final: Obj, old: Obj, cached: CachedObject
) -> CachedObject | Obj:
    """Write, unless nothing changed; an object that only waited for its finalizers goes."""
    if deleted_by_update(call, final, old):
        await call.cache.delete(key, cached.mod_revision)
        await release(call, old)
        return final
    if unchanged(final, old):
        return cached
    return await call.cache.update(key, final, cached.mod_revision)


def unchanged(new: Obj, old: Obj) -> bool:
    """Whether two objects are the same JSON. Python takes 1, 1.0 and true for equal; JSON not."""
    if new != old:
        return False
    option = orjson.OPT_SORT_KEYS
    return orjson.dumps(new, option=option) == orjson.dumps(old, option=option)


def deleted_by_update(call: Call, new: Obj, old: Obj) -> bool:
    """Whether this write removes the last thing that kept a deleted object alive."""
    metadata = old["metadata"]
    if new["metadata"].get("finalizers") or not metadata.get("deletionTimestamp"):
        return False
    if call.kind.plural == "namespaces" and new.get("spec", {}).get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def _carry_metadata(new: Obj, old: Obj) -> None:
    """What no update can change."""
    if not new.get("uid"):
        new["uid"] = old.get("uid", "")
    for name in ("creationTimestamp", "deletionTimestamp"):
        if name in old:
            new[name] = old[name]
    if "deletionGracePeriodSeconds" in old:
        new.setdefault("deletionGracePeriodSeconds", old["deletionGracePeriodSeconds"])
    new.pop("selfLink", None)


def _check_version(call: Call, new: Obj, old: Obj, rules: Rules) -> None:
    """The resourceVersion of the new object must be the current one, or may be absent."""
    wanted = new["metadata"].get("resourceVersion", "")
    current = old["metadata"]["resourceVersion"]
    info = call.info
    if wanted in ("", "0"):
        if not rules.allow_unconditional:
            error = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(info.resource, info.name, [error], info.group)
        new["metadata"]["resourceVersion"] = current
    elif wanted != current:
        raise conflict(info.resource, info.name, OBJECT_MODIFIED, info.group)


def _other_uid(call: Call, key: str, uid: str, old: Obj) -> Exception:
    return conflict(
        call.info.resource,
        call.info.name,
        f"StorageError: invalid object, Code: 4, Key: {key.removeprefix('/registry')}, "
        "ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
        f"UID in object meta: {old['metadata'].get('uid', '')}",
        call.info.group,
    )
