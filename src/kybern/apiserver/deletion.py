"""How an object goes: preconditions, grace, finalizers, and only then the store.

DELETE and deletecollection call :func:`delete_object`. A kind with a grace period is marked first
and removed by the kubelet's second call; an object with finalizers is marked and goes with the
last of them. The garbage collector finds the propagation policy as a finalizer.
"""

from collections.abc import Callable
from typing import NamedTuple

from kybern.api.errors import OBJECT_MODIFIED, Obj, StatusError, conflict
from kybern.api.objects import set_condition
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call
from kybern.apiserver.options import DeleteOptions
from kybern.apiserver.replacement import TRIES, owned, unchanged
from kybern.apiserver.reservation import release
from kybern.apiserver.responses import success
from kybern.component.clock import parse_rfc3339, rfc3339
from kybern.store.interface import RevisionMismatch

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
CUSTOM_RESOURCE_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
SHORTEST_GRACE = 1

# Upstream answers the deletion of these with the object, that of others with a Status.
_RETURNED_WHOLE = frozenset(
    {
        ("", "namespaces"),
        ("", "persistentvolumeclaims"),
        ("", "persistentvolumes"),
        ("", "pods"),
        ("", "podtemplates"),
        ("", "resourcequotas"),
        ("", "serviceaccounts"),
        ("", "services"),
        ("resource.k8s.io", "deviceclasses"),
        ("resource.k8s.io", "devicetaintrules"),
        ("resource.k8s.io", "resourceclaims"),
        ("resource.k8s.io", "resourceclaimtemplates"),
        ("resource.k8s.io", "resourceslices"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "volumeattachments"),
        ("storage.k8s.io", "volumeattributesclasses"),
    }
)


class Deleted(NamedTuple):
    """The answer to a deletion: the object or a Status, and whether the object is gone."""

    result: CachedObject | Obj
    gone: bool


async def delete_object(
    call: Call, name: str, options: DeleteOptions, *, admitted: bool = False
) -> Deleted:
    """Delete an object of the call's kind and namespace; raises StatusError 404 and 409.

    ``admitted`` where admission has judged a request that implies the deletion.
    """
    key = call.key(name)
    for _ in range(TRIES):
        cached = call.cache.get(key)
        if cached is None:
            raise call.not_found(name)
        old = owned(cached)
        check_preconditions(call, name, old, options)
        if not admitted:
            attributes = call.attributes("DELETE", None, old, options, options.dry_run)
            await call.services.admission.admit(attributes)
            await call.services.admission.validate(attributes)
        try:
            return await _attempt(call, key, cached, options)
        except RevisionMismatch:
            continue
    raise conflict(call.info.resource, name, OBJECT_MODIFIED, call.info.group)


async def _attempt(call: Call, key: str, cached: CachedObject, options: DeleteOptions) -> Deleted:
    obj, before = owned(cached), owned(cached)
    metadata = obj["metadata"]
    terminate = _TERMINATIONS.get((call.kind.group, call.kind.plural))
    if terminate is not None:
        kept = terminate(call, obj, options)
    else:
        grace = _set_grace(call, obj, options)
        if grace is None:
            return Deleted(_answer(call, cached), False)
        set_finalizers(call, obj, options)
        kept = grace > 0 or bool(metadata.get("finalizers"))
        if kept and not metadata.get("deletionTimestamp"):
            _mark(call, metadata, 0)
    if options.dry_run:
        return Deleted(obj if kept else _answer(call, obj), not kept)
    revision = cached.mod_revision
    if not unchanged(obj, before):
        cached = await call.cache.update(key, obj, revision)
    if kept:
        return Deleted(cached, False)
    await call.cache.delete(key, cached.mod_revision)
    await release(call, obj)
    return Deleted(_answer(call, cached), True)


def check_preconditions(call: Call, name: str, obj: Obj, options: DeleteOptions) -> None:
    """The UID and version that the client expects; raises StatusError 409."""
    metadata = obj["metadata"]
    uid, version = options.uid, options.resource_version
    if _terminates(call):
        _check_stored(call, name, metadata, options)
    if uid is not None and uid != metadata.get("uid"):
        raise _precondition(
            call,
            name,
            f"the UID in the precondition ({uid}) does not match the UID in record "
            f"({metadata.get('uid', '')}). The object might have been deleted and then recreated",
        )
    if version is not None and version != metadata["resourceVersion"]:
        raise _precondition(
            call,
            name,
            f"the ResourceVersion in the precondition ({version}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). "
            "The object might have been modified",
        )


def _terminates(call: Call) -> bool:
    """Whether objects of this kind end in a way of their own."""
    return (call.kind.group, call.kind.plural) in _TERMINATIONS


def _check_stored(call: Call, name: str, metadata: Obj, options: DeleteOptions) -> None:
    """The same for kinds whose preconditions upstream leaves to the update that ends them."""
    for wanted, found, what in (
        (options.uid, metadata.get("uid", ""), "UID"),
        (options.resource_version, metadata["resourceVersion"], "ResourceVersion"),
    ):
        if wanted is not None and wanted != found:
            why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: "
            raise conflict(call.info.resource, name, why + found, call.info.group)


def _precondition(call: Call, name: str, why: str) -> StatusError:
    # Upstream puts the kind here, not the resource.
    return conflict(call.kind.kind, name, why, call.kind.group)


def _set_grace(call: Call, obj: Obj, options: DeleteOptions) -> int | None:
    """Mark an object of a graceful kind. 0: delete now; None: a deletion is under way already."""
    grace_period = call.kind.strategy.grace_period
    if grace_period is None:
        return 0
    wanted = options.grace_period_seconds
    if wanted is not None and wanted < 0:
        wanted = SHORTEST_GRACE
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return _shorten_grace(call, metadata, wanted)
    period = grace_period(obj, wanted)
    _mark(call, metadata, period)
    return period


def _shorten_grace(call: Call, metadata: Obj, wanted: int | None) -> int | None:
    """A deletion that is under way can only be made faster."""
    held = metadata.get("deletionGracePeriodSeconds") or 0
    if held == 0:
        return 0
    if wanted is None or wanted >= held:
        return None
    now = call.services.clock.time()
    due = parse_rfc3339(metadata["deletionTimestamp"]) - held + wanted
    if due < now:
        due = now
        if wanted:
            wanted = SHORTEST_GRACE
    metadata["deletionTimestamp"] = rfc3339(due)
    metadata["deletionGracePeriodSeconds"] = wanted
    return wanted


def _mark(call: Call, metadata: Obj, period: int) -> None:
    metadata["deletionTimestamp"] = rfc3339(call.services.clock.time() + period)
    metadata["deletionGracePeriodSeconds"] = period
    if metadata.get("generation", 0) > 0:
        metadata["generation"] += 1


def set_finalizers(call: Call, obj: Obj, options: DeleteOptions) -> None:
    """Tell the garbage collector what to do with the dependents."""
    metadata = obj["metadata"]
    held: list[str] = metadata.get("finalizers") or []
    default = call.kind.strategy.default_propagation
    policy = "Unsupported" if default == "Unsupported" else _policy(held, default, options)
    finalizers = [name for name in held if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        finalizers.append(ORPHAN)
    elif policy == "Foreground":
        finalizers.append(FOREGROUND)
    if set(finalizers) == set(held):
        return
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _policy(held: list[str], default: str, options: DeleteOptions) -> str:
    """The client's wish, or else what an earlier deletion said, or else the kind's default."""
    if options.orphan_dependents is not None:
        return "Orphan" if options.orphan_dependents else "Background"
    if options.propagation_policy is not None:
        return options.propagation_policy
    if ORPHAN in held:
        return "Orphan"
    return "Foreground" if FOREGROUND in held else default


def _terminate_namespace(call: Call, obj: Obj, options: DeleteOptions) -> bool:
    """A namespace stays, Terminating, until its controller has emptied and finalized it."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = call.services.clock.timestamp()
        obj.setdefault("status", {})["phase"] = "Terminating"
        set_finalizers(call, obj, options)
        return True
    return bool(obj.get("spec", {}).get("finalizers")) or bool(metadata.get("finalizers"))


def _terminate_definition(call: Call, obj: Obj, options: DeleteOptions) -> bool:
    """A CustomResourceDefinition stays until its objects are gone."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return bool(metadata.get("finalizers"))
    now = call.services.clock.timestamp()
    metadata["deletionTimestamp"] = now
    finalizers = metadata.setdefault("finalizers", [])
    if CUSTOM_RESOURCE_CLEANUP not in finalizers:
        finalizers.append(CUSTOM_RESOURCE_CLEANUP)
    set_condition(
        obj,
        "Terminating",
        "True",
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        now,
    )
    return True


_TERMINATIONS: dict[tuple[str, str], Callable[[Call, Obj, DeleteOptions], bool]] = {
    ("", "namespaces"): _terminate_namespace,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _terminate_definition,
}


def _answer(call: Call, stored: CachedObject | Obj) -> CachedObject | Obj:
    """What a client gets for an object that is gone."""
    kind = call.kind
    if (kind.group, kind.plural) in _RETURNED_WHOLE:
        return stored
    metadata = (stored.obj if isinstance(stored, CachedObject) else stored)["metadata"]
    return success(call.info.resource, metadata["name"], metadata.get("uid", ""), call.info.group)
