"""How an object comes into being, whichever verb makes it.

POST, a PUT that creates and an apply of something absent all end in :func:`store_new`: mutating
admission, names and UIDs, the kind's preparation and validation, validating admission, the store.
"""

from typing import Any

from kybern.api.errors import Obj, StatusError, already_exists, bad_request, invalid
from kybern.api.objects import copy
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call
from kybern.apiserver.options import WriteOptions
from kybern.apiserver.reservation import reserved
from kybern.store.interface import RevisionMismatch

NAME_ATTEMPTS = 8
SUFFIX_LENGTH = 5
# Upstream's alphabet: no vowels and no look-alikes, so that names spell nothing.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_GENERATED = 63
_SYSTEM_FIELDS = (
    "creationTimestamp",
    "uid",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


def wipe_system_fields(metadata: Obj) -> None:
    """Drop what only the server may set."""
    for name in _SYSTEM_FIELDS:
        metadata.pop(name, None)


def ensure_namespace(metadata: Obj, namespace: str) -> None:
    """Fill in the request's namespace; raises StatusError 400 if the object names another."""
    found = metadata.get("namespace", "")
    if not namespace:
        metadata.pop("namespace", None)
    elif not found:
        metadata["namespace"] = namespace
    elif found != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def drop_duplicate_owners(call: Call, metadata: Obj, *, admitted: bool = False) -> None:
    """Keep each owner reference once, and say so."""
    references: list[Any] = metadata.get("ownerReferences") or []
    if len(references) < 2:
        return
    kept: list[Any] = []
    dropped: list[str] = []
    for reference in references:
        if reference in kept:
            dropped.append(reference.get("uid", ""))
        else:
            kept.append(reference)
    if not dropped:
        return
    metadata["ownerReferences"] = kept
    when = " after mutating admission happens" if admitted else ""
    call.warn(
        ".metadata.ownerReferences contains duplicate entries"
        f"{when}; API server dedups owner references in 1.20+, and may reject such requests as "
        f"early as 1.24; please fix your requests; duplicate UID(s) observed: {', '.join(dropped)}"
    )


def generated_name(call: Call, prefix: str) -> str:
    """A name that starts with ``prefix`` and ends in five random characters."""
    choice = call.services.clock.random.choice
    suffix = "".join(choice(_SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))
    return prefix[: _LONGEST_GENERATED - SUFFIX_LENGTH] + suffix


async def store_new(call: Call, obj: Obj, options: WriteOptions) -> CachedObject | Obj:
    """Admit, complete, validate and store an object in the storage version.

    Returns what was stored; on a dry run, what would have been. Raises StatusError.
    """
    call.stamp(obj)
    attributes = call.attributes("CREATE", obj, None, options, options.dry_run)
    await call.services.admission.admit(attributes)
    drop_duplicate_owners(call, obj["metadata"], admitted=True)
    prefix = "" if obj["metadata"].get("name") else obj["metadata"].get("generateName", "")
    for _ in range(NAME_ATTEMPTS if prefix else 1):
        candidate = copy(obj) if prefix else obj
        if prefix:
            candidate["metadata"]["name"] = generated_name(call, prefix)
        try:
            async with reserved(call, candidate, None, options.dry_run):
                final = _completed(call, candidate)
                attributes.object = final
                await call.services.admission.validate(attributes)
                key = call.key(final["metadata"]["name"])
                if not options.dry_run:
                    return await call.cache.create(key, final)
                if call.cache.get(key) is None:
                    return final
        except RevisionMismatch:
            continue
    raise _taken(call, candidate["metadata"]["name"], bool(prefix))


def _completed(call: Call, obj: Obj) -> Obj:
    """The object with what the server sets, prepared, valid and in normal form."""
    kind, clock = call.kind, call.services.clock
    metadata = obj["metadata"]
    metadata["uid"] = clock.uid()
    metadata["creationTimestamp"] = clock.timestamp()
    metadata.pop("resourceVersion", None)
    if kind.strategy.record_user is not None:
        kind.strategy.record_user(obj, call.user)
    kind.strategy.prepare_for_create(obj)
    errors = kind.strategy.validate(obj, call.served.api_version)
    if errors:
        raise invalid(kind.kind, metadata.get("name", ""), errors, kind.group)
    for text in kind.strategy.warnings(obj):
        call.warn(text)
    return call.services.storage_schema(kind).normalise(obj)


def _taken(call: Call, name: str, generated: bool) -> StatusError:
    """409 AlreadyExists, with upstream's hints."""
    error = already_exists(call.info.resource, name, call.info.group)
    if generated:
        error.message += ", the server was not able to generate a unique name for the object"
        error.details = {**(error.details or {}), "retryAfterSeconds": 1}
    existing = call.cache.get(call.key(name))
    if existing is not None and existing.obj["metadata"].get("deletionTimestamp"):
        error.message = f"object is being deleted: {error.message}"
    return error
