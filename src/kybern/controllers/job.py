"""Jobs: runs pods until enough of them have succeeded.

One round: count what has finished (``job_status.py``), decide whether the Job is done, failed or
suspended, then create or delete pods towards ``parallelism``. Failed pods are replaced after a
pause that doubles from 10 seconds to 10 minutes. A Job's end has two steps: a target condition
first, the final one when all its pods have ended (KEP-3998).
"""

import asyncio
from dataclasses import dataclass

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import JOBS, PODS
from kybern.api.selectors import LabelSelector
from kybern.controllers import job_status
from kybern.controllers.controller import Context, Controller, owner_key
from kybern.controllers.replicas import (
    PodControl,
    in_slow_start,
    latest_revision,
    pod_from_template,
)

BURST = 500
FIRST_PAUSE_SECONDS = 10.0
MAX_PAUSE_SECONDS = 600.0
BACKOFF_REACHED = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE_REACHED = ("DeadlineExceeded", "Job was active longer than specified deadline")
COMPLETIONS_REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")


@dataclass(slots=True)
class _Failures:
    """Failures in a row and when the last was seen, to pause before the next pod."""

    total: int = 0
    in_row: int = 0
    last: float = 0.0


class JobController(Controller):
    """Keyed by Job."""

    name = "job-controller"
    account = "job-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.watch(JOBS)
        self.pods = self.watch(PODS, owner_key("Job"))
        self.recorder = context.recorder(self.client, "job-controller")
        self.control = PodControl(self.client, self.recorder, self.pods)
        self.failures: dict[str, _Failures] = {}

    async def reconcile(self, key: str) -> float | None:
        held = self.jobs.get(key)
        if held is None:
            self.failures.pop(key, None)
            await self._release_orphans(key)
            return None
        if held["spec"].get("managedBy", "kubernetes.io/job-controller") != (
            "kubernetes.io/job-controller"
        ):
            return None
        job = objects.copy(held)
        selector = LabelSelector.from_object(job["spec"].get("selector"))
        pods = await self.control.claim(job, lambda pod: selector.matches(objects.labels(pod)))
        if objects.is_deleting(job) or job_status.is_finished(job):
            await self._release([pod for pod in pods if job_status.is_tracked(pod)])
            return None
        return await self._run(key, job, pods)

    async def _run(self, key: str, job: Obj, pods: list[Obj]) -> float | None:
        status = job.setdefault("status", {})
        if not status.get("startTime") and not job_status.is_suspended(job):
            status["startTime"] = self.clock.timestamp()
        job_status.count_released(status, pods)
        release = job_status.note_finished(job, status, pods)
        self._note_failures(key, job, status)
        self._suspend_or_resume(job)
        active = [p for p in pods if _is_running(job, p)]
        target = self._target(job, status, active)
        again: float | None = None
        refusal: Exception | None = None
        if target is not None:
            self._set_target(job, *target)
            await self._delete(job, active, len(active))
            active = []
        else:
            again, refusal = await self._scale(key, job, active)
            active = [p for p in self.control.owned(job) if _is_running(job, p)]
        self._count(job, active)
        await self._write(job)
        await self._release(release)
        if release:
            job_status.count_released(status, self.control.owned(job))
        if target is not None and not self._unfinished(job):
            self._end(job, *target)
        await self._write(job)
        if refusal is not None:
            raise refusal
        return again

    def _note_failures(self, key: str, job: Obj, status: Obj) -> None:
        seen = self.failures.setdefault(key, _Failures(status.get("failed", 0)))
        now_failed = job_status.failed(status)
        held = self.jobs.get(key)
        before = job_status.succeeded(job, objects.status(held)) if held is not None else 0
        if job_status.succeeded(job, status) > before:
            seen.in_row = 0
        if now_failed > seen.total:
            seen.in_row += now_failed - seen.total
            seen.last = self.clock.time()
        seen.total = now_failed

    def _suspend_or_resume(self, job: Obj) -> None:
        suspended = job_status.is_suspended(job)
        known = objects.condition(job, "Suspended")
        if suspended == (known is not None and known["status"] == "True"):
            return
        if not suspended and known is None:
            return
        value, reason = ("True", "JobSuspended") if suspended else ("False", "JobResumed")
        text = "Job suspended" if suspended else "Job resumed"
        objects.set_condition(
            job, "Suspended", value, reason, text, self.clock.timestamp(), **self._probed()
        )
        self.recorder.event(job, "Normal", "Suspended" if suspended else "Resumed", text)
        if suspended:
            job["status"].pop("startTime", None)
        else:
            job["status"]["startTime"] = self.clock.timestamp()

    def _probed(self) -> dict[str, str]:
        return {"lastProbeTime": self.clock.timestamp()}

    def _target(self, job: Obj, status: Obj, active: list[Obj]) -> tuple[str, str, str] | None:
        """(final condition, reason, message) once the Job's fate is decided."""
        for final, target in job_status.TARGET_OF.items():
            known = objects.condition(job, target)
            if known is not None and known["status"] == "True":
                return final, known.get("reason", ""), known.get("message", "")
        spec = job["spec"]
        limit = spec.get("backoffLimit", 6)
        on_failure = spec["template"]["spec"].get("restartPolicy") == "OnFailure"
        restarts = job_status.restarts(active) if on_failure else 0
        if job_status.failed(status) > limit or (restarts and restarts >= max(limit, 1)):
            return "Failed", *BACKOFF_REACHED
        if self._is_past_deadline(job):
            return "Failed", *DEADLINE_REACHED
        done = job_status.succeeded(job, status)
        completions = spec.get("completions")
        if completions is None:
            enough = done > 0 and not active
        else:
            enough = done >= completions
        return ("Complete", *COMPLETIONS_REACHED) if enough else None

    def _is_past_deadline(self, job: Obj) -> bool:
        left = self._until_deadline(job)
        return left is not None and left <= 0 and not job_status.is_suspended(job)

    def _until_deadline(self, job: Obj) -> float | None:
        limit = job["spec"].get("activeDeadlineSeconds")
        started = objects.status(job).get("startTime")
        if limit is None or not started:
            return None
        return objects.epoch(started) + limit - self.clock.time()

    async def _scale(
        self, key: str, job: Obj, active: list[Obj]
    ) -> tuple[float | None, Exception | None]:
        """Move the number of pods towards the wanted one; returns when to look again."""
        again = self._until_deadline(job)
        wanted = self._wanted(job, active)
        if len(active) > wanted:
            await self._delete(job, active, len(active) - wanted)
            return again, None
        missing = wanted - len(active)
        if missing <= 0:
            return again, None
        pause = self._pause(key)
        if pause > 0:
            return min(pause, again) if again is not None else pause, None
        created, refusal = await self._create(job, min(missing, BURST))
        await self.pods.reached(latest_revision(created))
        return again, refusal

    def _wanted(self, job: Obj, active: list[Obj]) -> int:
        if job_status.is_suspended(job):
            return 0
        spec = job["spec"]
        done = job_status.succeeded(job, job["status"])
        parallelism = spec.get("parallelism", 1)
        if spec.get("completions") is None:
            # A work queue: once one pod has succeeded, no new ones are started.
            return min(len(active), parallelism) if done else parallelism
        return min(parallelism, max(spec["completions"] - done, 0))

    def _pause(self, key: str) -> float:
        seen = self.failures.get(key)
        if seen is None or seen.in_row == 0:
            return 0.0
        pause = min(FIRST_PAUSE_SECONDS * 2 ** min(seen.in_row - 1, 16), MAX_PAUSE_SECONDS)
        return seen.last + pause - self.clock.time()

    async def _create(self, job: Obj, count: int) -> tuple[list[Obj], Exception | None]:
        created: list[Obj] = []
        indexes = iter(self._free_indexes(job, count))

        async def create() -> None:
            pod = self._pod(job, next(indexes) if job_status.is_indexed(job) else None)
            created.append(await self.control.create(job, pod))

        failures = await in_slow_start(count, create)
        return created, failures[0] if failures else None

    def _free_indexes(self, job: Obj, count: int) -> list[int]:
        if not job_status.is_indexed(job):
            return []
        taken = job_status.parse_indexes(job["status"].get("completedIndexes", ""))
        for pod in self.control.owned(job):
            index = job_status.index_of(pod)
            if index is not None and _is_running(job, pod):
                taken.add(index)
        free = (index for index in range(job["spec"]["completions"]) if index not in taken)
        return [index for _, index in zip(range(count), free, strict=False)]

    def _pod(self, job: Obj, index: int | None) -> Obj:
        pod = objects.copy(pod_from_template(job, job["spec"]["template"]))
        meta = pod["metadata"]
        meta["finalizers"] = [*meta.get("finalizers", []), job_status.FINALIZER]
        if index is None:
            return pod
        meta["generateName"] = f"{objects.name(job)}-{index}-"
        meta.setdefault("annotations", {})[job_status.INDEX] = str(index)
        meta.setdefault("labels", {})[job_status.INDEX] = str(index)
        pod["spec"].setdefault("hostname", f"{objects.name(job)}-{index}")
        source = {"fieldRef": {"fieldPath": f"metadata.labels['{job_status.INDEX}']"}}
        variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
        for field in ("initContainers", "containers"):
            for container in pod["spec"].get(field) or ():
                if all(one["name"] != variable["name"] for one in container.get("env") or ()):
                    container.setdefault("env", []).append(variable)
        return pod

    async def _delete(self, job: Obj, active: list[Obj], count: int) -> None:
        ordered = sorted(active, key=lambda pod: (objects.is_pod_ready(pod), objects.name(pod)))
        await asyncio.gather(*(self.control.delete(job, pod) for pod in ordered[:count]))

    def _count(self, job: Obj, active: list[Obj]) -> None:
        counts = {
            "active": len(active),
            "ready": sum(objects.is_pod_ready(pod) for pod in active),
            "terminating": sum(
                objects.is_deleting(pod) and not objects.is_pod_terminal(pod)
                for pod in self.control.owned(job)
            ),
        }
        for field, count in counts.items():
            if count or field != "active":
                job["status"][field] = count
            else:
                job["status"].pop(field, None)

    def _set_target(self, job: Obj, final: str, reason: str, message: str) -> None:
        type_ = job_status.TARGET_OF[final]
        now = self.clock.timestamp()
        objects.set_condition(job, type_, "True", reason, message, now, **self._probed())

    def _unfinished(self, job: Obj) -> bool:
        return any(
            job_status.is_tracked(pod) or not objects.is_pod_terminal(pod)
            for pod in self.control.owned(job)
        )

    def _end(self, job: Obj, final: str, reason: str, message: str) -> None:
        now = self.clock.timestamp()
        objects.set_condition(job, final, "True", reason, message, now, **self._probed())
        job["status"].pop("active", None)
        job["status"]["ready"] = 0
        if final == "Complete":
            job["status"]["completionTime"] = now
            self.recorder.event(job, "Normal", "Completed", "Job completed")
        else:
            self.recorder.event(job, "Warning", reason, message)

    async def _write(self, job: Obj) -> None:
        held = self.jobs.get(objects.key(job))
        if held is not None and objects.status(held) == job["status"]:
            return
        written = await self.client.update_status(JOBS, job)
        job["metadata"] = written["metadata"]
        await self.jobs.reached(objects.resource_version(written))

    async def _release(self, pods: list[Obj]) -> None:
        """Take the tracking finalizer off pods that have been noted."""
        for pod in pods:
            kept = [one for one in objects.finalizers(pod) if one != job_status.FINALIZER]
            meta = {"finalizers": kept or None, "uid": objects.uid(pod)}
            name, namespace = objects.name(pod), objects.namespace(pod)
            try:
                patched = await self.client.patch(PODS, name, {"metadata": meta}, namespace)
            except StatusError as error:
                if error.code not in (404, 409, 422):
                    raise
                continue
            await self.pods.reached(objects.resource_version(patched))

    async def _release_orphans(self, key: str) -> None:
        """The Job is gone: nobody will count its pods any more."""
        namespace, name = objects.split_key(key)
        orphans = [
            pod
            for pod in self.pods.list(namespace)
            if job_status.is_tracked(pod) and (objects.controller_of(pod) or {}).get("name") == name
        ]
        await self._release(orphans)


def _is_running(job: Obj, pod: Obj) -> bool:
    """Counts as active: neither ended nor counted as failed."""
    return not objects.is_pod_terminal(pod) and not job_status.has_failed(job, pod)
