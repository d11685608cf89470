"""The Targets column of autoscalers: what each metric is and what it should be."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import NONE, UNKNOWN

_SHOWN = 2


def targets(autoscaler: Obj, now: float) -> str:
    """``cpu: 30%/80%, ...`` for the first two metrics."""
    specs = (autoscaler.get("spec") or {}).get("metrics") or []
    if not specs:
        return NONE
    statuses = (autoscaler.get("status") or {}).get("currentMetrics") or []
    shown = [
        _metric(spec, statuses[i] if i < len(statuses) else {}) for i, spec in enumerate(specs)
    ]
    text = ", ".join(shown[:_SHOWN])
    return f"{text} + {len(shown) - _SHOWN} more..." if len(shown) > _SHOWN else text


def _metric(spec: Obj, status: Obj) -> str:
    kind = spec.get("type", "")
    field = kind[:1].lower() + kind[1:]
    source = spec.get(field) or {}
    target, current = source.get("target") or {}, (status.get(field) or {}).get("current") or {}
    match kind:
        case "Resource" | "ContainerResource":
            return f"{source.get('name', '')}: {_resource(target, current)}"
        case "Pods":
            return f"{current.get('averageValue', UNKNOWN)}/{target.get('averageValue', '')}"
        case "Object" | "External":
            if target.get("averageValue") is not None:
                now_shown = current.get("averageValue", UNKNOWN)
                return f"{now_shown}/{target['averageValue']} (avg)"
            return f"{current.get('value', UNKNOWN)}/{target.get('value', '')}"
    return "<unknown type>"


def _resource(target: Obj, current: Obj) -> str:
    if target.get("averageValue") is not None:
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
    used, wanted = current.get("averageUtilization"), target.get("averageUtilization")
    shown = UNKNOWN if used is None else f"{used}%"
    return f"{shown}/{'<auto>' if wanted is None else f'{wanted}%'}"
