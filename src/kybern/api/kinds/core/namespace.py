"""Namespace: its phase, its finalizers, its name as a label."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, field
from kybern.api.kinds.kind import Column, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy, Write
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
        default=_default,
        create=_create,
        update=_update,
        writes={"finalize": Write(_finalize)},
        name_rule=dns_label,
        namespaced=False,
        status=True,
    ),
    columns=(NAME, Column("Status", at("status", "phase")), AGE),
    selectable_fields={"status.phase": field("status", "phase")},
)
