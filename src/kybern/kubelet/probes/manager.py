"""Runs the probes of running containers and keeps their verdicts.

The pod worker calls :meth:`ProbeManager.follow` with what runs; each probe of each running
container is one task. A verdict that changes wakes the worker, which decides what follows (a kill,
a status). The number of tasks is bounded by the containers that run: three each.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.kubelet.cri.state import RUNNING, ContainerState, RuntimePod
from kybern.kubelet.pods import spec
from kybern.kubelet.probes import metrics
from kybern.kubelet.probes.checks import Checks, Outcome

logger = logging.getLogger(__name__)

LIVENESS, READINESS, STARTUP = "liveness", "readiness", "startup"
KINDS = (STARTUP, LIVENESS, READINESS)
TRIES = 3

# (pod, container name, type, reason, message)
Report = Callable[[Obj, str, str, str, str], None]


@dataclass(slots=True)
class _Target:
    """What a probe needs to know of its pod; kept up to date by ``follow``."""

    pod: Obj
    container: Obj
    running: ContainerState
    ip: str


class ProbeManager:
    """Verdicts by (container id, kind): True, False, or absent while unknown."""

    def __init__(self, checks: Checks, clock: Clock, report: Report) -> None:
        self._checks = checks
        self._clock = clock
        self._report = report
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._targets: dict[str, _Target] = {}
        self._starts: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.verdicts: dict[tuple[str, str], bool] = {}
        self.on_change: Callable[[str], None] = lambda uid: None

    def follow(self, pod: Obj, state: RuntimePod, *, terminating: bool = False) -> None:
        """Probe exactly the containers of this pod that run now.

        A terminating pod's liveness and startup no longer matter; its readiness still does, because
        endpoints that are draining are told by it.
        """
        uid = spec.uid(pod)
        ip = state.ips[0] if state.ips else ""
        if spec.host_network(pod):
            ip = (pod.get("status") or {}).get("hostIP") or "127.0.0.1"
        wanted: dict[tuple[str, str], None] = {}
        for container in spec.all_containers(pod):
            running = state.latest(container["name"])
            kinds = [kind for kind in KINDS if container.get(f"{kind}Probe")]
            if running is None or running.state != RUNNING or not kinds:
                continue
            self._targets[running.id] = _Target(pod, container, running, ip)
            for kind in kinds:
                if kind == READINESS or not terminating:
                    wanted[running.id, kind] = None
                    self._start(uid, running, kind)
        self._keep_only(uid, wanted)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._keep_only(uid, ())

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._checks.close()

    def ready(self) -> dict[str, bool]:
        """Readiness by container id, for containers that have such a probe."""
        return {
            identity: self.verdicts.get((identity, READINESS), False)
            for identity, target in self._targets.items()
            if target.container.get("readinessProbe")
        }

    def started(self) -> dict[str, bool]:
        """Whether the startup probe has passed, for containers that have one."""
        return {
            identity: self.verdicts.get((identity, STARTUP), False)
            for identity, target in self._targets.items()
            if target.container.get("startupProbe")
        }

    def _start(self, uid: str, running: ContainerState, kind: str) -> None:
        key = (running.id, kind)
        if key in self._tasks:
            return
        self._adopt(key)
        self._tasks[key] = asyncio.create_task(self._run(uid, *key), name=f"probe {key}")

    def _adopt(self, key: tuple[str, str]) -> None:
        """After a restart of the kubelet a container keeps the readiness the API knows of it."""
        identity, kind = key
        target = self._targets[identity]
        status = target.pod.get("status") or {}
        for old in (
            *(status.get("containerStatuses") or ()),
            *(status.get("initContainerStatuses") or ()),
        ):
            if old.get("containerID", "").endswith(f"//{identity}"):
                if kind == READINESS and old.get("ready"):
                    self.verdicts[key] = True
                if kind == STARTUP and old.get("started"):
                    self.verdicts[key] = True

    def _keep_only(self, uid: str, wanted: Collection[tuple[str, str]]) -> None:
        """Stop this pod's other probes, and forget containers that are no longer probed."""
        own = [i for i, target in self._targets.items() if spec.uid(target.pod) == uid]
        for identity in own:
            for kind in KINDS:
                key = (identity, kind)
                if key not in wanted and (task := self._tasks.pop(key, None)):
                    task.cancel()
                    target = self._targets[identity]
                    metrics.forget(target.pod, target.container["name"], kind)
            if not any((identity, kind) in wanted for kind in KINDS):
                del self._targets[identity]
                self._starts.pop(identity, None)
                for kind in KINDS:
                    self.verdicts.pop((identity, kind), None)

    async def _run(self, uid: str, identity: str, kind: str) -> None:
        """Probe one container in its period until cancelled; thresholds make the verdict."""
        probe = self._targets[identity].container[f"{kind}Probe"]
        period = float(probe.get("periodSeconds") or 10)
        await self._initial_delay(identity, probe)
        last: bool | None = None
        streak = 0
        while True:
            started = asyncio.get_running_loop().time()
            if kind == STARTUP or self._has_started(identity):
                outcome = await self._check(identity, kind, probe)
                passed = outcome.passed
                if passed is not None:
                    streak = streak + 1 if passed == last else 1
                    last = passed
                    if (
                        self._decide(uid, identity, kind, probe, passed, streak)
                        and kind != READINESS
                    ):
                        return
            elapsed = asyncio.get_running_loop().time() - started
            await self._rest(identity, kind, max(0.0, period - elapsed))

    async def _rest(self, identity: str, kind: str, seconds: float) -> None:
        """Until the next probe is due; who has just started is asked for readiness at once."""
        if kind != READINESS or self._has_started(identity):
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._starts[identity].wait()

    async def _initial_delay(self, identity: str, probe: Obj) -> None:
        begun = self._targets[identity].running.started_at / 1e9
        delay = float(probe.get("initialDelaySeconds") or 0)
        await asyncio.sleep(max(0.0, begun + delay - self._clock.time()))

    def _has_started(self, identity: str) -> bool:
        """Liveness and readiness wait until the startup probe has passed."""
        if not self._targets[identity].container.get("startupProbe"):
            return True
        return self.verdicts.get((identity, STARTUP)) is True

    def _decide(
        self, uid: str, identity: str, kind: str, probe: Obj, passed: bool, streak: int
    ) -> bool:
        """Store the verdict when the threshold is reached; True if probing is over."""
        threshold = probe.get("successThreshold" if passed else "failureThreshold")
        if streak < (threshold or (1 if passed else 3)):
            return False
        key = (identity, kind)
        if self.verdicts.get(key) is not passed:
            self.verdicts[key] = passed
            if kind == STARTUP and passed:
                self._starts[identity].set()
            self.on_change(uid)
        # A failed liveness or startup ends the container; a passed startup probe has done its work.
        return not passed or kind == STARTUP

    async def _check(self, identity: str, kind: str, probe: Obj) -> Outcome:
        """Probe, trying again when the probe itself broke, and report what people should know."""
        target = self._targets[identity]
        outcome = Outcome(None)
        began = self._clock.monotonic()
        for _ in range(TRIES):
            try:
                outcome = await self._checks.check(probe, target.container, identity, target.ip)
            except (ValueError, OSError) as error:
                outcome = Outcome(None, str(error))
            if outcome.passed is not None:
                break
        seconds = self._clock.monotonic() - began
        metrics.count(target.pod, target.container["name"], kind, outcome.passed, seconds)
        if outcome.passed is not True:
            what = "failed" if outcome.passed is False else "errored and resulted in unknown state"
            message = f"{kind.capitalize()} probe {what}: {outcome.output}"
            name = target.container["name"]
            self._report(target.pod, name, "Warning", "Unhealthy", message)
        elif outcome.warning:
            message = f"{kind.capitalize()} probe warning: {outcome.output}"
            self._report(target.pod, target.container["name"], "Warning", "ProbeWarning", message)
        return outcome
