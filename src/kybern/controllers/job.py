"""Jobs: runs pods until enough of them have succeeded.

One round: count what has finished (``job_status.py``), decide whether the Job is done, failed or
suspended (``job_policies.py``), then create or delete pods towards ``parallelism``. Failed pods are
replaced after a pause (``job_backoff.py``). A Job's end has two steps: a target condition first,
the final one when all its pods have ended (KEP-3998).
"""

import asyncio

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import JOBS, PODS
from kybern.api.selectors import LabelSelector
from kybern.controllers import job_indexes, job_policies, job_status
from kybern.controllers.controller import Context, Controller, owner_key
from kybern.controllers.job_backoff import JobBackoff, index_pause
from kybern.controllers.job_pods import new_pod
from kybern.controllers.job_status import Finished
from kybern.controllers.replicas import (
    PodControl,
    deletion_order,
    in_slow_start,
    latest_revision,
)

OWN_NAME = "kubernetes.io/job-controller"
BURST = 500

Target = tuple[str, str, str]
"""(final condition, reason, message)."""


class JobController(Controller):
    """Keyed by Job."""

    name = "job-controller"
    account = "job-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.watch(JOBS)
        self.pods = self.watch(PODS, owner_key("Job"))
        self.recorder = context.recorder(self.client, "job-controller")
        self.control = PodControl(self.client, self.recorder, self.pods, job_status.FINALIZER)
        self.backoff = JobBackoff()

    async def reconcile(self, key: str) -> float | None:
        held = self.jobs.get(key)
        if held is None:
            self.backoff.forget(key)
            await self._release_orphans(key)
            return None
        if held["spec"].get("managedBy", OWN_NAME) != OWN_NAME:
            return None
        job = objects.copy(held)
        selector = _selector(job)
        pods = await self.control.claim(job, lambda pod: selector.matches(objects.labels(pod)))
        if objects.is_deleting(job) or job_status.is_finished(job):
            self.backoff.forget(key)
            await self._release([pod for pod in pods if job_status.is_tracked(pod)])
            return None
        return await self._run(key, job, pods)

    async def _run(self, key: str, job: Obj, pods: list[Obj]) -> float | None:
        status = job.setdefault("status", {})
        if not status.get("startTime") and not job_status.is_suspended(job):
            status["startTime"] = self.clock.timestamp()
        job_status.count_released(status, pods)
        finished = job_status.note_finished(job, status, pods)
        self.backoff.note(key, finished)
        active = [pod for pod in pods if objects.is_pod_active(pod)]
        target = self._target(job, status, finished, active)
        again: float | None = None
        refusal: Exception | None = None
        if target is not None:
            self._set_target(job, *target)
            await asyncio.gather(*(self.control.delete(job, pod) for pod in active))
            self._note_rest(job, pods, finished, target)
        else:
            again, refusal = await self._scale(key, job, active, finished)
            self._suspend_or_resume(job)
        self._count(job)
        await self._write(job)
        await self._release(finished.release)
        if finished.release:
            job_status.count_released(status, self.control.owned(job))
            self._count(job)
        if target is not None and not self._unfinished(job):
            self._end(job, *target)
        await self._write(job)
        if refusal is not None:
            raise refusal
        return again

    def _suspend_or_resume(self, job: Obj) -> None:
        suspended = job_status.is_suspended(job)
        known = objects.condition(job, "Suspended")
        if suspended == (known is not None and known["status"] == "True"):
            return
        value, reason = ("True", "JobSuspended") if suspended else ("False", "JobResumed")
        text = "Job suspended" if suspended else "Job resumed"
        now = self.clock.timestamp()
        objects.set_condition(job, "Suspended", value, reason, text, now, lastProbeTime=now)
        self.recorder.event(job, "Normal", "Suspended" if suspended else "Resumed", text)
        if suspended:
            job["status"].pop("startTime", None)
        else:
            job["status"]["startTime"] = now

    def _target(
        self, job: Obj, status: Obj, finished: Finished, active: list[Obj]
    ) -> Target | None:
        """The Job's end, once its fate is decided."""
        for final, type_ in job_status.TARGET_OF.items():
            known = objects.condition(job, type_)
            if known is not None and known["status"] == "True":
                return final, known.get("reason", ""), known.get("message", "")
        return (
            self._failure(job, status, finished, active)
            or self._index_failure(job, status)
            or self._success(job, status, active)
        )

    def _failure(
        self, job: Obj, status: Obj, finished: Finished, active: list[Obj]
    ) -> Target | None:
        spec = job["spec"]
        fatal = job_policies.fatal_failure(job, finished.failed)
        if fatal:
            return "Failed", "PodFailurePolicy", fatal
        limit = spec.get("backoffLimit", 6)
        on_failure = spec["template"]["spec"].get("restartPolicy") == "OnFailure"
        restarts = job_status.restarts(active) if on_failure else 0
        if job_status.failed(status) > limit or (restarts and restarts >= max(limit, 1)):
            text = "Job has reached the specified backoff limit"
            return "Failed", "BackoffLimitExceeded", text
        if self._is_past_deadline(job):
            text = "Job was active longer than specified deadline"
            return "Failed", "DeadlineExceeded", text
        return None

    def _index_failure(self, job: Obj, status: Obj) -> Target | None:
        if not (job_indexes.is_indexed(job) and job_indexes.has_limit_per_index(job)):
            return None
        failed = len(job_indexes.indexes_in(job, status.get("failedIndexes")))
        most = job["spec"].get("maxFailedIndexes")
        if most is not None and failed > most:
            text = "Job has exceeded the specified maximal number of failed indexes"
            return "Failed", "MaxFailedIndexesExceeded", text
        if failed and failed + job_status.succeeded(status) >= job["spec"]["completions"]:
            return "Failed", "FailedIndexes", "Job has failed indexes"
        return None

    def _success(self, job: Obj, status: Obj, active: list[Obj]) -> Target | None:
        if job_indexes.is_indexed(job):
            completed = job_indexes.indexes_in(job, status.get("completedIndexes"))
            rule = job_policies.success_rule(job, completed)
            if rule:
                return "Complete", "SuccessPolicy", rule
        done = job_status.succeeded(status)
        completions = job["spec"].get("completions")
        enough = done > 0 and not active if completions is None else done >= completions
        text = "Reached expected number of succeeded pods"
        return ("Complete", "CompletionsReached", text) if enough else None

    def _is_past_deadline(self, job: Obj) -> bool:
        left = self._until_deadline(job)
        return left is not None and left <= 0 and not job_status.is_suspended(job)

    def _until_deadline(self, job: Obj) -> float | None:
        limit = job["spec"].get("activeDeadlineSeconds")
        started = objects.status(job).get("startTime")
        if limit is None or not started:
            return None
        return objects.epoch(started) + limit - self.clock.time()

    def _note_rest(self, job: Obj, pods: list[Obj], finished: Finished, target: Target) -> None:
        """The Job ends: every pod is released, and where the Job fails it counts as failed."""
        known = {objects.uid(pod) for pod in finished.release}
        for pod in pods:
            if objects.uid(pod) in known or not job_status.is_tracked(pod):
                continue
            finished.release.append(pod)
            if target[0] == "Failed" or job_status.has_failed(job, pod):
                job_status.note_failed(job, job["status"], pod)

    async def _scale(
        self, key: str, job: Obj, active: list[Obj], finished: Finished
    ) -> tuple[float | None, Exception | None]:
        """Move the number of pods towards the wanted one; returns when to look again."""
        again = self._until_deadline(job)
        wanted = self._wanted(job, active)
        ordered = deletion_order(active, lambda pod: 0, self.clock.time())
        doomed = job_indexes.surplus(job, ordered)
        doomed_uids = {objects.uid(pod) for pod in doomed}
        left = [pod for pod in ordered if objects.uid(pod) not in doomed_uids]
        doomed += left[: max(len(left) - wanted, 0)]
        if doomed:
            # Without its finalizer first, a pod that is only too much would count as failed.
            await self._release([pod for pod in doomed[:BURST] if job_status.is_tracked(pod)])
            await asyncio.gather(*(self.control.delete(job, pod) for pod in doomed[:BURST]))
            return again, None
        missing = wanted - len(active) - self._blocking(job)
        if missing <= 0 or job_status.is_suspended(job):
            return again, None
        indexes, pause = self._turns(key, job, min(missing, BURST), finished)
        if pause > 0:
            return min(pause, again) if again is not None else pause, None
        return again, await self._create(job, indexes, finished)

    def _blocking(self, job: Obj) -> int:
        """Terminating pods whose place is not free before they have ended."""
        if not job_status.replaces_failed_only(job):
            return 0
        return sum(job_status.is_terminating(pod) for pod in self.control.owned(job))

    def _wanted(self, job: Obj, active: list[Obj]) -> int:
        if job_status.is_suspended(job):
            return 0
        spec = job["spec"]
        done = job_status.succeeded(job["status"])
        parallelism = spec.get("parallelism", 1)
        if spec.get("completions") is None:
            # A work queue: once one pod has succeeded, no new ones are started.
            return min(len(active), parallelism) if done else parallelism
        return int(min(parallelism, max(spec["completions"] - done, 0)))

    def _turns(
        self, key: str, job: Obj, count: int, finished: Finished
    ) -> tuple[list[int | None], float]:
        """The indexes (None without) that get a pod now; if none may, the shortest pause."""
        now = self.clock.time()
        if not job_indexes.has_limit_per_index(job):
            pause = self.backoff.pause(key, now)
            if pause > 0:
                return [], pause
        if not job_indexes.is_indexed(job):
            return [None] * count, 0.0
        free = self._free_indexes(job, count)
        if not job_indexes.has_limit_per_index(job):
            return list(free), 0.0
        pauses = {index: index_pause(finished.held_back.get(index), now) for index in free}
        ready: list[int | None] = [index for index in free if pauses[index] <= 0]
        return ready, 0.0 if ready else min(pauses.values(), default=0.0)

    def _free_indexes(self, job: Obj, count: int) -> list[int]:
        status = job["status"]
        taken = job_indexes.indexes_in(job, status.get("completedIndexes"))
        taken |= job_indexes.indexes_in(job, status.get("failedIndexes"))
        waits = job_status.replaces_failed_only(job)
        for pod in self.control.owned(job):
            index = job_indexes.index_of(pod)
            busy = objects.is_pod_active(pod) or (waits and job_status.is_terminating(pod))
            if index is not None and busy:
                taken.add(index)
        free = (index for index in range(job["spec"]["completions"]) if index not in taken)
        return [index for _, index in zip(range(count), free, strict=False)]

    async def _create(
        self, job: Obj, indexes: list[int | None], finished: Finished
    ) -> Exception | None:
        created: list[Obj] = []
        turns = iter(indexes)

        async def create() -> None:
            index = next(turns)
            replaced = finished.held_back.get(index) if index is not None else None
            created.append(await self.control.create(job, new_pod(job, index, replaced)))

        failures = await in_slow_start(len(indexes), create)
        await self.pods.reached(latest_revision(created))
        return failures[0] if failures else None

    def _count(self, job: Obj) -> None:
        pods = self.control.owned(job)
        active = [pod for pod in pods if objects.is_pod_active(pod)]
        job["status"]["active"] = len(active)
        if not active:
            del job["status"]["active"]
        job["status"]["ready"] = sum(objects.is_pod_ready(pod) for pod in active)
        job["status"]["terminating"] = sum(job_status.is_terminating(pod) for pod in pods)

    def _set_target(self, job: Obj, final: str, reason: str, message: str) -> None:
        type_, now = job_status.TARGET_OF[final], self.clock.timestamp()
        objects.set_condition(job, type_, "True", reason, message, now, lastProbeTime=now)

    def _unfinished(self, job: Obj) -> bool:
        return any(
            job_status.is_tracked(pod) or not objects.is_pod_terminal(pod)
            for pod in self.control.owned(job)
        )

    def _end(self, job: Obj, final: str, reason: str, message: str) -> None:
        now = self.clock.timestamp()
        objects.set_condition(job, final, "True", reason, message, now, lastProbeTime=now)
        if final == "Complete":
            job["status"]["completionTime"] = now
            completions = job["spec"].get("completions")
            if completions is not None and job["status"].get("succeeded", 0) > completions:
                text = "Too many succeeded pods running after completion count reached"
                self.recorder.event(job, "Warning", "TooManySucceededPods", text)
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
        await asyncio.gather(*(self._release_one(pod) for pod in pods))

    async def _release_one(self, pod: Obj) -> None:
        gone = {"$deleteFromPrimitiveList/finalizers": [job_status.FINALIZER]}
        meta = {**gone, "uid": objects.uid(pod)}
        name, namespace = objects.name(pod), objects.namespace(pod)
        try:
            patched = await self.client.patch(
                PODS, name, {"metadata": meta}, namespace, kind="strategic"
            )
        except StatusError as error:
            if error.code not in (404, 409, 422):
                raise
            return
        await self.pods.reached(objects.resource_version(patched))

    async def _release_orphans(self, key: str) -> None:
        """The Job is gone: nobody will count its pods any more, if no other Job adopts them."""
        namespace, name = objects.split_key(key)
        jobs = self.jobs.list(namespace)
        orphans = []
        for pod in self.pods.list(namespace):
            if not job_status.is_tracked(pod):
                continue
            controller = objects.controller_of(pod)
            if controller is None:
                if not any(_selector(job).matches(objects.labels(pod)) for job in jobs):
                    orphans.append(pod)
            elif controller["kind"] == "Job" and controller["name"] == name:
                orphans.append(pod)
        await self._release(orphans)


def _selector(job: Obj) -> LabelSelector:
    return LabelSelector.from_object(job["spec"].get("selector"))
