"""PodDisruptionBudget."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

POD_DISRUPTION_BUDGET = Kind(
    group="policy",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    subresources=(status_of("PodDisruptionBudget"),),
    strategy=Strategy(status=True, generation=spec_changed, allow_unconditional_update=False),
)
