"""Deletes finished Jobs once their ``ttlSecondsAfterFinished`` are over, with their pods."""

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import JOBS
from kybern.controllers.controller import Context, Controller
from kybern.controllers.job_status import END_CONDITIONS


class TtlAfterFinishedController(Controller):
    """Keyed by Job."""

    name = "ttl-after-finished-controller"
    account = "ttl-after-finished-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.watch(JOBS)

    async def reconcile(self, key: str) -> float | None:
        job = self.jobs.get(key)
        left = self._left(job) if job is not None else None
        if left is None or left > 0:
            return left
        namespace, name = objects.split_key(key)
        try:
            # The informer may be behind somebody who has just given the Job more time.
            fresh = await self.client.get(JOBS, name, namespace)
            left = self._left(fresh)
            if left is None or left > 0:
                return left
            await self.client.delete(
                JOBS,
                name,
                namespace,
                propagation_policy="Foreground",
                uid=objects.uid(fresh),
                resource_version=objects.resource_version(fresh),
            )
        except StatusError as error:
            if error.code != 404:
                raise
        return None

    def _left(self, job: Obj) -> float | None:
        """Seconds that the Job has left; None if it may stay."""
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None or objects.is_deleting(job):
            return None
        for type_ in END_CONDITIONS:
            final = objects.condition(job, type_)
            if final is not None and final["status"] == "True":
                return objects.epoch(final["lastTransitionTime"]) + seconds - self.clock.time()
        return None
