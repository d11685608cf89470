"""CronJob."""

from kybern.api.errors import Obj
from kybern.api.kinds.batch.job import default_job_spec
from kybern.api.kinds.columns import AGE, NAME, NONE, at, containers, label_selector, since
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed


def _default(cron_job: Obj) -> None:
    spec = cron_job.setdefault("spec", {})
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("successfulJobsHistoryLimit") is None:
        spec["successfulJobsHistoryLimit"] = 3
    if spec.get("failedJobsHistoryLimit") is None:
        spec["failedJobsHistoryLimit"] = 1
    default_job_spec(spec.setdefault("jobTemplate", {}).setdefault("spec", {}))


def _suspended(cron_job: Obj, now: float) -> str:
    suspended = (cron_job.get("spec") or {}).get("suspend")
    return "<unset>" if suspended is None else str(bool(suspended)).capitalize()


def _last_schedule(cron_job: Obj, now: float) -> str:
    last = (cron_job.get("status") or {}).get("lastScheduleTime")
    return since(last, now) if last else NONE


_job = at("spec", "jobTemplate", "spec", default={})
_pod = at("spec", "jobTemplate", "spec", "template", "spec", default={})

COLUMNS = (
    NAME,
    Column("Schedule", at("spec", "schedule")),
    Column("Timezone", at("spec", "timeZone", default=NONE)),
    Column("Suspend", _suspended, "boolean"),
    Column("Active", lambda o, now: len((o.get("status") or {}).get("active") or ()), "integer"),
    Column("Last Schedule", _last_schedule),
    AGE,
    Column("Containers", lambda o, now: containers(_pod(o, now))[0], priority=1),
    Column("Images", lambda o, now: containers(_pod(o, now))[1], priority=1),
    Column("Selector", lambda o, now: label_selector(_job(o, now).get("selector")), priority=1),
)


CRON_JOB = Kind(
    group="batch",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    subresources=(status_of("CronJob"),),
    strategy=Strategy(
        default=_default,
        create=lambda o: o.__setitem__("status", {}),
        status=True,
        generation=spec_changed,
    ),
    columns=COLUMNS,
)
