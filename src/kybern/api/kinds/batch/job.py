"""Job: its generated selector and labels, defaults and columns."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import Obj
from kybern.api.kinds.columns import (
    AGE,
    NAME,
    at,
    field,
    human_duration,
    label_selector,
    template_columns,
)
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import condition_is, epoch

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
OLD_CONTROLLER_UID = "controller-uid"
OLD_JOB_NAME = "job-name"
_UNLIMITED = 2**31 - 1


def default_job_spec(spec: Obj) -> None:
    """Defaults of the template that jobs and cron jobs have in common."""
    default_template(spec.setdefault("template", {}))
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def _default(job: Obj) -> None:
    spec = job.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else _UNLIMITED
    default_job_spec(spec)
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)
    if spec.get("completionMode") is None:
        spec["completionMode"] = "NonIndexed"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("podReplacementPolicy") is None:
        failing = spec.get("podFailurePolicy") is not None
        spec["podReplacementPolicy"] = "Failed" if failing else "TerminatingOrFailed"
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False


def _create(job: Obj) -> None:
    """Unless the author chose a selector, the job's pods carry and match its UID."""
    spec = job["spec"]
    job["status"] = {}
    if spec.get("manualSelector"):
        return
    metadata = spec["template"].get("metadata") or {}
    labels = metadata.get("labels") or {}
    name, uid = job["metadata"].get("name", ""), job["metadata"].get("uid", "")
    for key, value in (
        (OLD_CONTROLLER_UID, uid),
        (OLD_JOB_NAME, name),
        (CONTROLLER_UID, uid),
        (JOB_NAME, name),
    ):
        labels.setdefault(key, value)
    metadata["labels"] = labels
    spec["template"]["metadata"] = metadata
    selector = spec.get("selector") or {}
    match = selector.get("matchLabels") or {}
    match.setdefault(CONTROLLER_UID, uid)
    spec["selector"] = {**selector, "matchLabels": match}


def _status(job: Obj, now: float) -> str:
    if condition_is(job, "Complete"):
        return "Complete"
    if condition_is(job, "Failed"):
        return "Failed"
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for name, shown in (
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if condition_is(job, name):
            return shown
    return "Running"


def _completions(job: Obj, now: float) -> str:
    spec = job.get("spec") or {}
    succeeded = at("status", "succeeded", default=0)(job, now)
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(job: Obj, now: float) -> str:
    status = job.get("status") or {}
    if not status.get("startTime"):
        return ""
    end = epoch(status["completionTime"]) if status.get("completionTime") else now
    return human_duration(end - epoch(status["startTime"]))


COLUMNS = (
    NAME,
    Column("Status", _status),
    Column("Completions", _completions),
    Column("Duration", _duration),
    AGE,
    *template_columns(),
    Column(
        "Selector",
        lambda o, now: label_selector(at("spec", "selector", default=None)(o, now)),
        priority=1,
    ),
)


JOB = Kind(
    group="batch",
    kind="Job",
    plural="jobs",
    categories=("all",),
    subresources=(status_of("Job"),),
    strategy=Strategy(
        default=_default,
        create=_create,
        status=True,
        generation=spec_changed,
        default_propagation="Orphan",
    ),
    columns=COLUMNS,
    selectable_fields={"status.successful": field("status", "succeeded", default="0")},
)
