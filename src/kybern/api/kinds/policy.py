"""PodDisruptionBudget."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed


def _create(budget: Obj) -> None:
    budget["status"] = {
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    }


COLUMNS = (
    NAME,
    Column("Min Available", lambda o, now: str(at("spec", "minAvailable", default="N/A")(o, now))),
    Column(
        "Max Unavailable", lambda o, now: str(at("spec", "maxUnavailable", default="N/A")(o, now))
    ),
    Column("Allowed Disruptions", at("status", "disruptionsAllowed", default=0), "integer"),
    AGE,
)


POD_DISRUPTION_BUDGET = Kind(
    group="policy",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    subresources=(status_of("PodDisruptionBudget"),),
    strategy=Strategy(
        create=_create, status=True, generation=spec_changed, allow_unconditional_update=False
    ),
    columns=COLUMNS,
)
