"""FlowSchema and PriorityLevelConfiguration."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import condition
from kybern.api.validation.flow_control import (
    check_conditions,
    check_flow_schema,
    check_priority_level,
)


def _default_flow_schema(schema: Obj) -> None:
    spec = schema.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def _default_level(level: Obj) -> None:
    spec = level.setdefault("spec", {})
    if spec.get("exempt") is not None:
        exempt = spec["exempt"]
        for name in ("nominalConcurrencyShares", "lendablePercent"):
            if exempt.get(name) is None:
                exempt[name] = 0
    limited = spec.get("limited")
    if limited is None:
        return
    if limited.get("nominalConcurrencyShares") is None:
        limited["nominalConcurrencyShares"] = 30
    if limited.get("lendablePercent") is None:
        limited["lendablePercent"] = 0
    queuing = (limited.get("limitResponse") or {}).get("queuing")
    if queuing is not None:
        for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
            if not queuing.get(name):
                queuing[name] = value


def _dangling(schema: Obj, now: float) -> str:
    found = condition(schema, "Dangling")
    return "?" if found is None else str(found.get("status", ""))


FLOW_SCHEMA_COLUMNS = (
    NAME,
    Column("PriorityLevel", at("spec", "priorityLevelConfiguration", "name")),
    Column("MatchingPrecedence", at("spec", "matchingPrecedence", default=0)),
    Column("DistinguisherMethod", at("spec", "distinguisherMethod", "type", default=NONE)),
    AGE,
    Column("MissingPL", _dangling),
)
_QUEUING = ("spec", "limited", "limitResponse", "queuing")
LEVEL_COLUMNS = (
    NAME,
    Column("Type", at("spec", "type")),
    Column(
        "NominalConcurrencyShares",
        at("spec", "limited", "nominalConcurrencyShares", default=NONE),
    ),
    Column("Queues", at(*_QUEUING, "queues", default=NONE)),
    Column("HandSize", at(*_QUEUING, "handSize", default=NONE)),
    Column("QueueLengthLimit", at(*_QUEUING, "queueLengthLimit", default=NONE)),
    AGE,
)


FLOW_SCHEMA = Kind(
    group="flowcontrol.apiserver.k8s.io",
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    subresources=(status_of("FlowSchema"),),
    strategy=Strategy(
        default=_default_flow_schema,
        check=check_flow_schema,
        check_status=lambda new, old: check_conditions(new),
        namespaced=False,
        status=True,
        generation=spec_changed,
        resets={"status": (("metadata",), ("spec",))},
    ),
    columns=FLOW_SCHEMA_COLUMNS,
)

PRIORITY_LEVEL_CONFIGURATION = Kind(
    group="flowcontrol.apiserver.k8s.io",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    subresources=(status_of("PriorityLevelConfiguration"),),
    strategy=Strategy(
        default=_default_level,
        check=check_priority_level,
        check_status=lambda new, old: check_conditions(new),
        namespaced=False,
        status=True,
        generation=spec_changed,
        resets={"status": (("metadata",), ("spec",))},
    ),
    columns=LEVEL_COLUMNS,
)
