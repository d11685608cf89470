"""CronJob."""

from kybern.api.ages import since
from kybern.api.errors import FieldError, Obj, invalid_value, not_supported, required
from kybern.api.kinds.batch.job import default_job_spec
from kybern.api.kinds.columns import AGE, NAME, NONE, at, containers, label_selector
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.fields import one_of
from kybern.api.validation.job_spec import job_spec
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.schedule import schedule, time_zone
from kybern.api.validation.workloads import counts


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


_POLICIES = ("Allow", "Forbid", "Replace")
_LONGEST_NAME = 52


def _check(cron_job: Obj) -> list[FieldError]:
    spec = cron_job.get("spec") or {}
    errors: list[FieldError] = []
    if not spec.get("schedule"):
        errors.append(required("spec.schedule"))
    else:
        errors += schedule(spec["schedule"], spec.get("timeZone"), "spec.schedule")
    errors += counts(spec, ("startingDeadlineSeconds",), "spec")
    errors += time_zone(spec.get("timeZone"), "spec.timeZone")
    errors += one_of(spec.get("concurrencyPolicy"), _POLICIES, "spec.concurrencyPolicy")
    at = "spec.jobTemplate.spec"
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    errors += job_spec(job, at)
    if job.get("selector") is not None:
        text = "`selector` will be auto-generated"
        errors.append(invalid_value(f"{at}.selector", job["selector"], text))
    if job.get("manualSelector"):
        errors.append(not_supported(f"{at}.manualSelector", True, ("nil", "false")))
    return errors + counts(spec, ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "spec")


def _check_new(cron_job: Obj) -> list[FieldError]:
    """The names of its jobs end in a number, for which there has to be room."""
    errors = _check(cron_job)
    name = cron_job["metadata"].get("name", "")
    if len(name) > _LONGEST_NAME:
        text = f"must be no more than {_LONGEST_NAME} characters"
        errors.append(invalid_value("metadata.name", name, text))
    return errors


CRON_JOB = Kind(
    group="batch",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    subresources=(status_of("CronJob"),),
    strategy=Strategy(
        status_metadata_checks=0,
        check=_check_new,
        checks_on_update=0,
        check_update=lambda new, old: _check(new),
        warnings=lambda o: template_warnings(
            _job(o, 0.0).get("template") or {}, "spec.jobTemplate.spec.template"
        ),
        default=_default,
        create=lambda o: o.__setitem__("status", {}),
        status=True,
        generation=spec_changed,
    ),
    columns=COLUMNS,
)
