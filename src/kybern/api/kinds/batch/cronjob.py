"""CronJob."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

CRON_JOB = Kind(
    group="batch",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    subresources=(status_of("CronJob"),),
    strategy=Strategy(status=True, generation=spec_changed),
)
