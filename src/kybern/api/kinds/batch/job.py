"""Job: its generated selector and labels, defaults and columns."""

from kybern.api.ages import human_duration
from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.kinds.columns import AGE, NAME, at, field, label_selector, template_columns
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import condition_is, epoch
from kybern.api.selectors import LabelSelector
from kybern.api.validation.job_spec import job_spec
from kybern.api.validation.label_selectors import label_selector as check_selector
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import is_dns1123_label
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.pod_template import selected

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
        # The same map, so that the labels which the server adds to the pods show here too.
        job["metadata"]["labels"] = labels
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
    if not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)
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


_FIXED = (
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
)
_STEERING = ("nodeSelector", "tolerations", "schedulingGates")


def _check_new(job: Obj) -> list[FieldError]:
    spec = job.get("spec") or {}
    errors = _check_generated(job, spec) + _check(job)
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == "Indexed" and completions > 0:
        name = job["metadata"].get("name", "")
        last_pod = f"{name}-{completions - 1}"
        if is_dns1123_label(last_pod):
            text = f"will not able to create pod with invalid DNS label: {last_pod}"
            errors.append(invalid_value("metadata.name", name, text))
    return errors


def _check_generated(job: Obj, spec: Obj) -> list[FieldError]:
    """Labels and selector that the server made may not be made otherwise."""
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    name, uid = job["metadata"].get("name", ""), job["metadata"].get("uid", "")
    own = {CONTROLLER_UID: uid, JOB_NAME: name, OLD_CONTROLLER_UID: uid, OLD_JOB_NAME: name}
    held = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    errors: list[FieldError] = []
    for key, value in own.items():
        at = f"spec.template.metadata.labels[{key}]"
        if key not in held:
            errors.append(required(at, f"must be '{value}'"))
        elif held[key] != value:
            errors.append(invalid_value(at, held, f"must be '{value}'"))
    if not check_selector(spec["selector"], "") and not _matches(spec["selector"], own):
        text = "`selector` not auto-generated"
        errors.append(invalid_value("spec.selector", spec["selector"], text))
    return errors


def _check(job: Obj) -> list[FieldError]:
    spec = job.get("spec") or {}
    errors = job_spec(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        return [*errors, required("spec.selector")]
    wrong = check_selector(selector, "spec.selector")
    return errors + (wrong or selected(selector, spec.get("template") or {}, "spec.template"))


def _matches(selector: Obj, held: Obj) -> bool:
    return LabelSelector.from_object(selector).matches(held)


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors = _check_new(new) + _check(new) + _check_completions(after, before)
    errors += immutable(after.get("selector"), before.get("selector"), "spec.selector")
    template = before.get("template")
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        template = _steered(before.get("template") or {}, after.get("template") or {})
    errors += immutable(after.get("template"), template, "spec.template")
    for name in _FIXED:
        errors += immutable(after.get(name), before.get(name), f"spec.{name}")
    return errors


def _check_completions(new: Obj, old: Obj) -> list[FieldError]:
    """An indexed job can be made larger or smaller, parallelism and all."""
    path, after, before = "spec.completions", new.get("completions"), old.get("completions")
    if new.get("completionMode") != "Indexed":
        return immutable(after, before, path)
    if after == before or after is None or after == new.get("parallelism"):
        return []
    text = "can only be modified in tandem with spec.parallelism"
    return [invalid_value(path, after, text)]


def _steered(old: Obj, new: Obj) -> Obj:
    """The old template with what a job that never ran may still change: where its pods run."""
    spec, wanted = dict(old.get("spec") or {}), new.get("spec") or {}
    for name in _STEERING:
        _follow(name, spec, wanted)
    affinity = dict(spec.get("affinity") or {})
    _follow("nodeAffinity", affinity, wanted.get("affinity") or {})
    if affinity or wanted.get("affinity") is not None:
        spec["affinity"] = affinity
    else:
        spec.pop("affinity", None)
    for group in ("containers", "initContainers"):
        held, changed = spec.get(group) or [], wanted.get(group) or []
        if held and len(held) == len(changed):
            pairs = zip(held, changed, strict=True)
            spec[group] = [{**one, "resources": other.get("resources")} for one, other in pairs]
    metadata = dict(old.get("metadata") or {})
    for name in ("labels", "annotations"):
        _follow(name, metadata, new.get("metadata") or {})
    steered = {**old, "spec": spec}
    if metadata or "metadata" in new:
        steered["metadata"] = metadata
    return steered


def _follow(name: str, held: Obj, wanted: Obj) -> None:
    if name in wanted:
        held[name] = wanted[name]
    else:
        held.pop(name, None)


JOB = Kind(
    group="batch",
    kind="Job",
    plural="jobs",
    categories=("all",),
    subresources=(status_of("Job"),),
    strategy=Strategy(
        metadata_checks=2,
        check=_check_new,
        checks_on_update=0,
        check_update=_check_update,
        warnings=lambda o: template_warnings(o["spec"].get("template") or {}),
        default=_default,
        create=_create,
        status=True,
        generation=spec_changed,
        default_propagation="Orphan",
    ),
    columns=COLUMNS,
    unselectable='field label "{name}" not supported for Job',
    selectable_fields={"status.successful": field("status", "succeeded", default="0")},
)
