"""RuntimeClass."""

from kybern.api.errors import FieldError, Obj, duplicate, required
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.affinity import tolerations
from kybern.api.validation.fields import named
from kybern.api.validation.metadata import immutable, labels
from kybern.api.validation.names import dns_label
from kybern.api.validation.resources import container_resources


def _check(runtime_class: Obj) -> list[FieldError]:
    handler = runtime_class.get("handler", "")
    errors = named(dns_label(handler), handler, "handler") if handler else [required("handler")]
    fixed = (runtime_class.get("overhead") or {}).get("podFixed")
    if fixed:
        errors += container_resources({"limits": fixed}, set(), "overhead")
    scheduling = runtime_class.get("scheduling") or {}
    errors += labels(scheduling.get("nodeSelector") or {}, "scheduling.nodeSelector")
    held = scheduling.get("tolerations") or []
    errors += tolerations(held, "scheduling.tolerations")
    seen: list[Obj] = []
    for i, toleration in enumerate(held):
        key = {k: v for k, v in toleration.items() if k != "tolerationSeconds"}
        if key in seen:
            errors.append(duplicate(f"scheduling.tolerations[{i}]", toleration))
        seen.append(key)
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    return immutable(new.get("handler"), old.get("handler"), "handler")


RUNTIME_CLASS = Kind(
    group="node.k8s.io",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    strategy=Strategy(
        any_finalizer=True,
        metadata_checks=2,
        check=_check,
        check_update=_check_update,
        namespaced=False,
        allow_create_on_update=True,
        allow_unconditional_update=False,
    ),
    columns=(NAME, Column("Handler", at("handler")), AGE),
)
