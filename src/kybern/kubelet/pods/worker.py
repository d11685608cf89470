"""One pod's worker: brings it up, keeps it, ends it, and cleans up behind it.

The life of a worker is a line: *syncing* (drive the runtime towards the spec), *terminating* (stop
everything within the grace), *terminated* (volumes and cgroup gone, last status written) and, once
the API has forgotten the pod, *removed* (containers, sandbox and logs gone). It is woken by a newer
spec, by the runtime, by probes and by time; each time it looks at the runtime anew and decides
again, so a kubelet that starts in the middle of any of this goes on where its predecessor stopped.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kybern.api.errors import Obj, StatusError
from kybern.component.clock import Clock, parse_rfc3339
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.cri.state import RuntimePod
from kybern.kubelet.devices.access import DeviceError
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.killing import kill_pod, remove_pod
from kybern.kubelet.pods.sync import PodSync
from kybern.kubelet.status.conditions import ALL_OWNED
from kybern.kubelet.status.generate import TERMINAL, Failure, generate
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
RETRY_SECONDS = 1.0
LONGEST_RETRY = 15.0
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a pod ends although nobody deleted it: the status's reason and message, and its grace.

    ``disruption`` is the reason of the condition DisruptionTarget, if the pod gets one, whose
    message may be another.
    """

    reason: str
    message: str
    grace: int | None = None
    disruption: str = ""
    disruption_message: str = ""


class PodWorker:
    """The worker of one pod UID; ``pod`` is None for what only the runtime still knows."""

    def __init__(self, uid: str, parts: Parts, pod: Obj | None) -> None:
        self.uid = uid
        self.pod = pod
        self.terminated = False
        self.ended = asyncio.Event()
        self.in_api = pod is not None
        self._parts = parts
        self._sync = PodSync(parts, self._report)
        self._ending: Ending | None = None
        self._terminating = pod is None
        self._wakened = asyncio.Event()
        self._wakened.set()
        self._dirty = False
        self._failures = 0
        if pod is not None:
            parts.admission.recall(pod)
            parts.objects.follow(pod)
        self._task = asyncio.create_task(self._run(), name=f"pod worker {uid}")

    # What others tell the worker.

    def update(self, pod: Obj) -> None:
        """A newer version of the pod from the API."""
        known, self.pod, self.in_api = self.pod, pod, True
        self._parts.status.observe(pod)
        self._parts.admission.observe(pod)
        if known is None or _wanted(known) != _wanted(pod):
            if not self.terminated:
                self._parts.objects.follow(pod)
            self.wake()

    def remove(self) -> None:
        """The API no longer has the pod."""
        self.in_api = False
        self.wake()

    def end(self, ending: Ending) -> None:
        """The node itself ends the pod (eviction, shutdown)."""
        if self._ending is None:
            self._ending = ending
            self.wake()

    def wake(self) -> None:
        """Something happened; a sync that runs is followed by another one."""
        self._dirty = True
        self._wakened.set()

    async def done(self) -> None:
        """Wait until the worker has nothing left to do."""
        await asyncio.shield(self._task)

    @property
    def active(self) -> bool:
        """Whether the pod has a spec and may have something running."""
        return self.pod is not None and not self.terminated and self._ending is None

    @property
    def finished(self) -> bool:
        return self._task.done()

    async def close(self) -> None:
        """Stop working; containers live on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # The life.

    async def _run(self) -> None:
        refusal = await self._admit()
        if refusal is None:
            if not self._terminating:
                await self._keep_syncing()
            await self._until_it_works(self._terminate)
        await self._until_it_works(self._clean_up)
        self.terminated = True
        self.ended.set()
        while self.in_api:
            self._wakened.clear()
            if self.pod is not None:
                # Told again after each change: the delete may come long after the end.
                self._parts.status.finish(self.pod)
            await self._wakened.wait()
        await self._until_it_works(self._remove)

    async def _admit(self) -> Refusal | None:
        """Ask whether the node takes the pod; one that it does not take has failed."""
        refusal: Refusal | None = None
        while self.pod is not None and not self._must_end():
            self._wakened.clear()
            try:
                refusal = await self._parts.admission.admit(self.pod)
                break
            except OSError as error:
                self._tell(self.pod, error)
                self._failures += 1
                await self._pause(self._retry_delay())
        if self.pod is None or refusal is None:
            return None
        self._parts.report(self.pod, None, "Warning", refusal.reason, refusal.message)
        if self._parts.admission.knows(self.uid):
            # It has run since before this kubelet, so there is something to end.
            self._ending = Ending(refusal.reason, f"Pod was rejected: {refusal.message}")
            return None
        self._parts.status.set(self.pod, rejected(self.pod, refusal, self._parts.clock))
        return refusal

    async def _keep_syncing(self) -> None:
        """Sync until the pod is to end. While a sync runs, the status still follows the runtime."""
        running: asyncio.Task[float] | None = None
        loop = asyncio.get_running_loop()
        due = earliest = loop.time()
        try:
            while not self._must_end():
                self._wakened.clear()
                now = loop.time()
                if running is None and now >= (earliest if self._dirty else due):
                    self._dirty = False
                    running = asyncio.create_task(self._sync_once())
                    running.add_done_callback(lambda _: self._wakened.set())
                elif running is not None and running.done():
                    due, running = now + running.result(), None
                    # News may come at once, but not faster than a failing step can be retried.
                    earliest = now + RETRY_SECONDS if self._failures else now
                    continue
                elif running is not None:
                    await self._refresh()
                wait = (earliest if self._dirty else due) - now
                await self._pause(None if running is not None else wait)
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def _pause(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wakened.wait()
        except TimeoutError:
            return

    def _must_end(self) -> bool:
        assert self.pod is not None
        if self._ending is None:
            self._ending = self._deadline_passed()
        return (
            not self.in_api
            or spec.is_deleted(self.pod)
            or self._ending is not None
            or self._parts.status.get(self.pod).get("phase") in TERMINAL
            or _declared_terminal(self.pod)
        )

    def _deadline_passed(self) -> Ending | None:
        assert self.pod is not None
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        begun = self._parts.status.get(self.pod).get("startTime")
        if limit is None or not begun:
            return None
        if self._parts.clock.time() - parse_rfc3339(begun) < limit:
            return None
        return Ending("DeadlineExceeded", DEADLINE_MESSAGE)

    async def _sync_once(self) -> float:
        """One sync; the seconds until the next one is due."""
        assert self.pod is not None
        pod = self._parts.admission.granted(self.pod)
        try:
            await self._parts.admission.save(self.uid)
            state = await self._parts.reader.pod(self.uid)
            self._report(pod, state)
            if self._must_end():
                return 0.0
            wait = await self._sync.sync(pod, state)
            state = await self._parts.reader.pod(self.uid)
            self._parts.probes.follow(pod, state)
            self._sync.settle(pod, state)
            self._report(pod, state)
            if wait is None:
                self._failures = 0
                return self._until_deadline(pod, RESYNC_SECONDS)
            self._failures += 1
            return self._until_deadline(pod, wait or self._retry_delay())
        except (RpcError, StatusError) as error:
            logger.warning("sync of pod %s failed: %s", spec.full_name(pod), error)
        except OSError as error:
            self._tell(pod, error)
        except Exception:
            # One pod that nobody foresaw must not end its worker, and with it its clean-up.
            logger.exception("sync of pod %s failed", spec.full_name(pod))
        self._failures += 1
        return self._retry_delay()

    def _tell(self, pod: Obj, error: OSError) -> None:
        """The node's own disk fails the pod, which whoever looks at the pod should know."""
        logger.warning("sync of pod %s failed: %s", spec.full_name(pod), error)
        self._parts.report(pod, None, "Warning", "FailedSync", f"error syncing pod: {error}")

    def _retry_delay(self) -> float:
        return min(RETRY_SECONDS * 2 ** min(self._failures, 6), LONGEST_RETRY)

    def _until_deadline(self, pod: Obj, seconds: float) -> float:
        """The wait, cut short so that an active deadline is met on time."""
        limit = pod["spec"].get("activeDeadlineSeconds")
        begun = self._parts.status.get(pod).get("startTime")
        if limit is None or not begun:
            return seconds
        left = parse_rfc3339(begun) + limit - self._parts.clock.time()
        return max(0.01, min(seconds, left))

    async def _refresh(self) -> None:
        """Look at the runtime and report, without touching anything."""
        assert self.pod is not None
        try:
            state = await self._parts.reader.pod(self.uid)
        except RpcError:
            return
        self._parts.probes.follow(self.pod, state, terminating=self._terminating)
        self._report(self.pod, state)

    def _report(self, pod: Obj, state: RuntimePod, *, ended: bool = False) -> None:
        parts = self._parts
        status = generate(
            parts.admission.granted(pod),
            state,
            parts.status.get(pod),
            self._sync.observations(pod),
            host_ips=parts.facts.ips,
            now=parts.clock.timestamp(),
            ended=ended,
            failure=self._failure(),
            resizes=() if ended else parts.admission.conditions(self.uid),
        )
        parts.status.set(pod, status)

    def _failure(self) -> Failure | None:
        if self._ending is None:
            return None
        ending = self._ending
        return Failure(ending.reason, ending.message, ending.disruption, ending.disruption_message)

    # The end.

    async def _until_it_works(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step of the end until it succeeds; nothing may be left behind."""
        self._failures = 0
        while True:
            try:
                await step()
                return
            except (RpcError, OSError, StatusError, VolumeError, DeviceError) as error:
                logger.warning("end of pod %s: %s", self.uid, error)
            except Exception:
                logger.exception("end of pod %s", self.uid)
            self._failures += 1
            await asyncio.sleep(self._retry_delay())

    async def _terminate(self) -> None:
        """Stop all containers; a shorter grace that arrives meanwhile takes over."""
        self._terminating = True
        while True:
            state = await self._parts.reader.pod(self.uid)
            if not state.running() and not any(s.ready for s in state.sandboxes):
                break
            if self.pod is not None:
                self._parts.probes.follow(self.pod, state, terminating=True)
                self._report(self.pod, state)
            grace = self._grace()
            self._wakened.clear()
            killing = asyncio.create_task(kill_pod(self.pod, state, self._parts, grace))
            killing.add_done_callback(lambda _: self._wakened.set())
            try:
                while not killing.done() and self._grace() >= grace:
                    await self._wakened.wait()
                    self._wakened.clear()
                    if not killing.done():
                        await self._refresh_if_known()
                if killing.done():
                    killing.result()
            finally:
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)
        self._parts.probes.forget(self.uid)
        if self.pod is not None:
            self._report(self.pod, state, ended=True)

    async def _refresh_if_known(self) -> None:
        if self.pod is not None:
            await self._refresh()

    def _grace(self) -> int:
        if self.pod is None:
            return spec.DEFAULT_GRACE_SECONDS
        if self._ending is not None and self._ending.grace is not None:
            return self._ending.grace
        # An object that is gone from the API asked for no more patience than a second.
        return max(spec.grace_seconds(self.pod), 1)

    async def _clean_up(self) -> None:
        """Give back what the pod held on the node, apart from its containers' logs."""
        await self._parts.volumes.tear_down(self.uid)
        await self._parts.cgroups.remove(self.uid)
        self._parts.devices.release(self.uid)
        await self._parts.cpus.release(self.uid)
        await self._parts.memory.release(self.uid)
        self._parts.user_namespaces.release(self.uid)
        await self._parts.claims.release(self.uid)
        self._parts.admission.release(self.uid)
        await self._parts.cgroups.weigh(self._parts.admission.burstable_cpu())
        self._parts.objects.forget(self.uid)
        self._parts.tokens.forget(self.uid)
        self._parts.crash_backoff.forget(f"{self.uid}_")
        self._parts.puller.forget(self.uid)

    async def _remove(self) -> None:
        """Remove what a terminated pod was kept for: its containers, sandboxes and logs."""
        state = await self._parts.reader.pod(self.uid)
        await remove_pod(state, self._parts)
        await self._parts.cgroups.remove(self.uid)
        await asyncio.to_thread(self._remove_logs)
        self._parts.status.forget(self.uid)

    def _remove_logs(self) -> None:
        for directory in self._parts.paths.all_logs.glob(f"*_{self.uid}"):
            shutil.rmtree(directory, ignore_errors=True)


def rejected(pod: Obj, refusal: Refusal, clock: Clock) -> Obj:
    """The status of a pod that the node did not take."""
    old = pod.get("status") or {}
    return {
        **old,
        "phase": "Failed",
        "reason": refusal.reason,
        "message": f"Pod was rejected: {refusal.message}",
        "qosClass": spec.qos_class(pod),
        "startTime": old.get("startTime") or clock.timestamp(),
        "observedGeneration": pod["metadata"].get("generation", 0),
    }


def _declared_terminal(pod: Obj) -> bool:
    """The API says that the pod has ended, whoever wrote it: its containers must not go on."""
    return (pod.get("status") or {}).get("phase") in TERMINAL


def _wanted(pod: Obj) -> list[object]:
    """What of a pod the worker acts on: all but what this kubelet itself writes."""
    meta = pod["metadata"]
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return [
        pod["spec"],
        meta.get("labels"),
        meta.get("annotations"),
        meta.get("deletionTimestamp"),
        meta.get("deletionGracePeriodSeconds"),
        _declared_terminal(pod),
        [(c["type"], c["status"]) for c in conditions if c["type"] not in ALL_OWNED],
    ]
