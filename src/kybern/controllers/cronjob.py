"""CronJobs: a Job whenever the schedule says so.

A Job's name holds the minute it was due, so one time never makes two Jobs. ``status.active`` lists
what runs; ``concurrencyPolicy`` says what happens while something does. Finished Jobs are kept as
far as the history limits allow. The dates are computed in ``cron_schedule.py``.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CRON_JOBS, JOBS
from kybern.component.clock import rfc3339
from kybern.controllers.controller import Context, Controller, owner_key
from kybern.controllers.cron_schedule import Schedule, missed, seconds_to_next
from kybern.controllers.job_status import is_finished
from kybern.controllers.replicas import controller_uids

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobController(Controller):
    """Keyed by CronJob."""

    name = "cronjob-controller"
    account = "cronjob-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cron_jobs = self.watch(CRON_JOBS)
        self.jobs = self.watch(JOBS, owner_key("CronJob"))
        self.jobs.add_index("controller", controller_uids)
        self.recorder = context.recorder(self.client, self.name)

    async def reconcile(self, key: str) -> float | None:
        held = self.cron_jobs.get(key)
        if held is None:
            return None
        cron_job = objects.copy(held)
        cron_job.setdefault("status", {})
        jobs = self.jobs.by_index("controller", objects.uid(cron_job))
        try:
            await self._look_at(cron_job, jobs)
            again = await self._run(cron_job)
            await self._trim(cron_job, jobs)
        finally:
            await self._write(held, cron_job)
        return again

    async def _look_at(self, cron_job: Obj, jobs: list[Obj]) -> None:
        """Note which of the Jobs have ended, and when one last succeeded."""
        status = cron_job["status"]
        for job in jobs:
            active = _is_active(cron_job, job)
            if not is_finished(job):
                if not active:
                    text = f"Saw a job that the controller did not create or forgot: {_name(job)}"
                    self.recorder.event(cron_job, "Warning", "UnexpectedJob", text)
                continue
            if active:
                _drop(cron_job, objects.uid(job))
                final = "Complete" if objects.condition_is(job, "Complete") else "Failed"
                text = f"Saw completed job: {_name(job)}, condition: {final}"
                self.recorder.event(cron_job, "Normal", "SawCompletedJob", text)
            ended = objects.status(job).get("completionTime")
            if objects.condition_is(job, "Complete") and ended:
                status["lastSuccessfulTime"] = max(status.get("lastSuccessfulTime", ""), ended)
        known = {objects.uid(job) for job in jobs}
        for reference in list(status.get("active") or ()):
            if reference["uid"] not in known and await self._is_missing(reference):
                text = f"Active job went missing: {reference['name']}"
                self.recorder.event(cron_job, "Normal", "MissingJob", text)
                _drop(cron_job, reference["uid"])

    async def _is_missing(self, reference: Obj) -> bool:
        try:
            await self.client.get(JOBS, reference["name"], reference["namespace"])
        except StatusError as error:
            if error.code != 404:
                raise
            return True
        return False

    async def _run(self, cron_job: Obj) -> float | None:
        """Start what is due; returns the seconds to the next time."""
        if objects.is_deleting(cron_job) or cron_job["spec"].get("suspend"):
            return None
        schedule = self._schedule(cron_job)
        if schedule is None:
            return None
        now = self.clock.time()
        last = objects.epoch(
            cron_job["status"].get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
        )
        deadline = cron_job["spec"].get("startingDeadlineSeconds")
        try:
            found = missed(schedule, last if deadline is None else max(last, now - deadline), now)
        except ValueError as error:
            text = f"invalid schedule: {cron_job['spec']['schedule']} : {error}"
            self.recorder.event(cron_job, "Warning", "InvalidSchedule", text)
            return None
        if found.many:
            text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds"
            text += " or check clock skew"
            self.recorder.event(cron_job, "Warning", "TooManyMissedTimes", text)
        if found.time is not None and self._may_start(cron_job, found.time, now):
            await self._start(cron_job, found.time)
            last = found.time
        return seconds_to_next(schedule, last, now)

    def _schedule(self, cron_job: Obj) -> Schedule | None:
        text, zone = cron_job["spec"]["schedule"], cron_job["spec"].get("timeZone") or ""
        try:
            return Schedule(text, zone)
        except (ZoneInfoNotFoundError, OSError):
            text = f'invalid timeZone: "{zone}": unknown time zone {zone}'
            self.recorder.event(cron_job, "Warning", "UnknownTimeZone", text)
        except ValueError as error:
            text = f'unparseable schedule: "{text}" : {error}'
            self.recorder.event(cron_job, "Warning", "UnparseableSchedule", text)
        return None

    def _may_start(self, cron_job: Obj, due: float, now: float) -> bool:
        status, spec = cron_job["status"], cron_job["spec"]
        deadline = spec.get("startingDeadlineSeconds")
        if deadline is not None and due + deadline < now:
            date = format_datetime(datetime.fromtimestamp(due, UTC))
            text = f"Missed scheduled time to start a job: {date}"
            self.recorder.event(cron_job, "Warning", "MissSchedule", text)
            return False
        active = status.get("active") or []
        if _job_name(cron_job, due) in {one["name"] for one in active}:
            return False
        last = status.get("lastScheduleTime")
        if last and objects.epoch(last) == due:
            return False
        if active and spec.get("concurrencyPolicy") == "Forbid":
            text = "Not starting job because prior execution is running and concurrency policy is"
            self.recorder.event(cron_job, "Normal", "JobAlreadyActive", f"{text} Forbid")
            return False
        return True

    async def _start(self, cron_job: Obj, due: float) -> None:
        if cron_job["spec"].get("concurrencyPolicy") == "Replace":
            for reference in list(cron_job["status"].get("active") or ()):
                await self._delete(cron_job, reference)
        try:
            job = await self.client.create(JOBS, _job(cron_job, due))
        except StatusError as error:
            if error.reason != "AlreadyExists":
                text = f"Error creating job: {error.message}"
                self.recorder.event(cron_job, "Warning", "FailedCreate", text)
                raise
            namespace = objects.namespace(cron_job)
            job = await self.client.get(JOBS, _job_name(cron_job, due), namespace)
            if not objects.is_controlled_by(job, cron_job) or _is_active(cron_job, job):
                return
        else:
            text = f"Created job {_name(job)}"
            self.recorder.event(cron_job, "Normal", "SuccessfulCreate", text)
        await self.jobs.reached(objects.resource_version(job))
        cron_job["status"].setdefault("active", []).append(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": _name(job),
                "namespace": objects.namespace(job),
                "uid": objects.uid(job),
                "resourceVersion": objects.resource_version(job),
            }
        )
        cron_job["status"]["lastScheduleTime"] = rfc3339(due)

    async def _delete(self, cron_job: Obj, job: Obj) -> None:
        """Delete a Job, given as such or by its reference, with its pods."""
        meta = job.get("metadata") or job
        try:
            gone = await self.client.delete(
                JOBS, meta["name"], meta["namespace"], propagation_policy="Background"
            )
        except StatusError as error:
            if error.code == 404:
                return
            text = f"Deleted job: {error.message}"
            self.recorder.event(cron_job, "Warning", "FailedDelete", text)
            raise
        _drop(cron_job, meta["uid"])
        text = f"Deleted job {meta['name']}"
        self.recorder.event(cron_job, "Normal", "SuccessfulDelete", text)
        await self.jobs.reached(gone.get("metadata", {}).get("resourceVersion", ""))

    async def _trim(self, cron_job: Obj, jobs: list[Obj]) -> None:
        """Delete the oldest finished Jobs beyond the history limits."""
        for final, field in (
            ("Complete", "successfulJobsHistoryLimit"),
            ("Failed", "failedJobsHistoryLimit"),
        ):
            limit = cron_job["spec"].get(field)
            if limit is None:
                continue
            ended = [job for job in jobs if objects.condition_is(job, final)]
            surplus = max(len(ended) - limit, 0)
            for job in sorted(ended, key=_started)[:surplus]:
                if not objects.is_deleting(job):
                    await self._delete(cron_job, job)

    async def _write(self, held: Obj, cron_job: Obj) -> None:
        status = {field: value for field, value in cron_job["status"].items() if value}
        if status == objects.status(held):
            return
        try:
            written = await self.client.update_status(CRON_JOBS, {**cron_job, "status": status})
        except StatusError as error:
            if error.code != 404:
                raise
            return
        await self.cron_jobs.reached(objects.resource_version(written))


def _name(job: Obj) -> str:
    return objects.name(job)


def _job_name(cron_job: Obj, due: float) -> str:
    return f"{objects.name(cron_job)}-{int(due) // 60}"


def _job(cron_job: Obj, due: float) -> Obj:
    template = objects.copy(cron_job["spec"]["jobTemplate"])
    described = template.get("metadata") or {}
    zone = cron_job["spec"].get("timeZone")
    local = datetime.fromtimestamp(int(due), ZoneInfo(zone) if zone else UTC)
    date = local.isoformat().replace("+00:00", "Z")
    return {
        "metadata": {
            "name": _job_name(cron_job, due),
            "namespace": objects.namespace(cron_job),
            "labels": described.get("labels") or {},
            "annotations": {**(described.get("annotations") or {}), SCHEDULED: date},
            "ownerReferences": [objects.controller_reference(cron_job)],
        },
        "spec": template["spec"],
    }


def _is_active(cron_job: Obj, job: Obj) -> bool:
    active = cron_job["status"].get("active") or ()
    return any(one["uid"] == objects.uid(job) for one in active)


def _drop(cron_job: Obj, uid: str) -> None:
    active = cron_job["status"].get("active") or ()
    cron_job["status"]["active"] = [one for one in active if one["uid"] != uid]


def _started(job: Obj) -> tuple[str, str]:
    """A Job that never started counts as the youngest."""
    return objects.status(job).get("startTime") or "~", objects.name(job)
