"""Namespace: its phase, its finalizers, its name as a label."""

from kybern.api.errors import FieldError, Obj, invalid_value
from kybern.api.kinds.columns import AGE, NAME, at, field
from kybern.api.kinds.kind import Column, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy, Write
from kybern.api.validation.fields import qualified_name
from kybern.api.validation.names import dns_label

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


def _default(namespace: Obj) -> None:
    """Namespaces carry their name as a label, so that selectors can name them."""
    name = namespace["metadata"].get("name")
    if name:
        labels = namespace["metadata"].setdefault("labels", None) or {}
        labels[NAME_LABEL] = name
        namespace["metadata"]["labels"] = labels
    status = namespace.get("status")
    if status is None:
        status = namespace["status"] = {}
    if not status.get("phase"):
        status["phase"] = "Active"


def _create(namespace: Obj) -> None:
    """The finalizer keeps the namespace until the namespace controller has emptied it."""
    namespace["status"] = {"phase": "Active"}
    spec = namespace.get("spec") or {}
    finalizers = spec.get("finalizers") or []
    if FINALIZER not in finalizers:
        finalizers = [*finalizers, FINALIZER]
    namespace["spec"] = {**spec, "finalizers": finalizers}


def _update(new: Obj, old: Obj) -> None:
    """Finalizers change through the ``finalize`` subresource only."""
    new["spec"] = old.get("spec") or {}


def _finalize(new: Obj, old: Obj) -> None:
    new["status"] = old.get("status") or {}


_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def _check_finalizers(namespace: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in (namespace.get("spec") or {}).get("finalizers") or ():
        wrong = qualified_name(name, "spec.finalizers")
        errors += wrong
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(invalid_value("spec.finalizers", name, text))
    return errors


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    phase = (new.get("status") or {}).get("phase", "")
    deleting = bool(new["metadata"].get("deletionTimestamp"))
    wanted = "Terminating" if deleting else "Active"
    if phase == wanted:
        return []
    state = "not empty" if deleting else "empty"
    text = f"may only be '{wanted}' if `deletionTimestamp` is {state}"
    return [invalid_value("status.Phase", phase, text)]


NAMESPACE = Kind(
    group="",
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(
        Subresource("finalize", "Namespace", ("update",)),
        status_of("Namespace"),
    ),
    strategy=Strategy(
        metadata_checks=2,
        check=_check_finalizers,
        checks_on_update=0,
        check_status=_check_status,
        default=_default,
        create=_create,
        update=_update,
        writes={"finalize": Write(_finalize, lambda new, old: _check_finalizers(new))},
        name_rule=dns_label,
        namespaced=False,
        status=True,
    ),
    columns=(NAME, Column("Status", at("status", "phase")), AGE),
    selectable_fields={"status.phase": field("status", "phase")},
)
