"""Job."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

JOB = Kind(
    group="batch",
    kind="Job",
    plural="jobs",
    categories=("all",),
    subresources=(status_of("Job"),),
    strategy=Strategy(status=True, generation=spec_changed, default_propagation="Orphan"),
)
