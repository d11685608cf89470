"""Pod lives: every pod on a simulated node, moved along its stages.

One informer for all nodes reports pods; each pod that is ours gets a life, whose next step is on
the agenda. A step reads the newest state, patches the status, and plans the next step; one that
fails is tried again. After a restart of the process, lives continue from what the statuses say.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS
from kybern.client import Client
from kybern.client.informer import Informer, object_key
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.hollow import statuses
from kybern.hollow.agenda import Agenda
from kybern.hollow.config import Config
from kybern.hollow.nodes import HollowNode
from kybern.hollow.stages import Pace, pace_of, restart_seconds, restarts

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
TERMINAL = ("Succeeded", "Failed")


class Life:
    """One pod between its binding and its end."""

    __slots__ = ("is_ending", "key", "node", "pace", "restarts", "uid")

    def __init__(self, pod: Obj, node: HollowNode, pace: Pace) -> None:
        self.key = object_key(pod)
        self.uid: str = pod["metadata"]["uid"]
        self.node = node
        self.pace = pace
        containers = (pod.get("status") or {}).get("containerStatuses") or ()
        self.restarts = max((c.get("restartCount", 0) for c in containers), default=0)
        self.is_ending = False


Step = Callable[[Life, Obj], Awaitable[None]]


class PodLives:
    """The pods of all nodes of one process."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        config: Config,
        agenda: Agenda,
        nodes: dict[str, HollowNode],
        pods: Informer,
    ) -> None:
        self._client = client
        self._clock = clock
        self._config = config
        self._agenda = agenda
        self._nodes = nodes
        self._pods = pods
        self._lives: dict[str, Life] = {}

    def pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """The informer's handler."""
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._end(old["metadata"]["uid"])
        if new is None:
            return
        node = self._nodes.get(new["spec"].get("nodeName", ""))
        if node is None:
            return
        life = self._lives.get(new["metadata"]["uid"])
        if life is None:
            life = Life(new, node, pace_of(new, self._config, self._clock.random))
            self._lives[life.uid] = life
            self._begin(life, new)
        if "deletionTimestamp" in new["metadata"] and not life.is_ending:
            life.is_ending = True
            grace = new["metadata"].get("deletionGracePeriodSeconds") or 0
            self._plan(min(life.pace.termination, grace), life, self._delete)

    def _begin(self, life: Life, pod: Obj) -> None:
        """Plan the first step of a pod that is seen for the first time."""
        status = pod.get("status") or {}
        if address := status.get("podIP"):
            life.node.pod_addresses.keep(life.uid, address)
        phase = status.get("phase")
        if "deletionTimestamp" in pod["metadata"] or phase in TERMINAL:
            return
        if phase == "Running":
            self._plan_running(life, is_ready=_is_ready(pod))
        elif life.pace.creating or life.pace.waiting_reason:
            self._plan(0, life, self._create)
        else:
            self._plan(0, life, self._run)

    def _end(self, uid: str) -> None:
        life = self._lives.pop(uid, None)
        if life is not None:
            life.node.pod_addresses.free(uid)

    def _plan(self, seconds: float, life: Life, step: Step) -> None:
        self._agenda.after(seconds, partial(self._take, life, step))

    def _plan_running(self, life: Life, is_ready: bool) -> None:
        pace = life.pace
        if not is_ready and pace.ready is not None:
            self._plan(pace.ready, life, self._become_ready)
        if pace.run is not None:
            self._plan(pace.run, life, self._exit)

    async def _take(self, life: Life, step: Step) -> None:
        """Take a step if the pod is still there and the step still makes sense."""
        pod = self._pods.get(life.key)
        if life.uid not in self._lives or pod is None or pod["metadata"]["uid"] != life.uid:
            return
        if life.is_ending and step != self._delete:
            return
        try:
            await step(life, pod)
        except StatusError as error:
            if error.reason in ("NotFound", "Conflict"):
                return
            logger.info("pod %s: %s", life.key, error)
            self._plan(RETRY_SECONDS, life, step)
        except (ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.info("pod %s: %s", life.key, error)
            self._plan(RETRY_SECONDS, life, step)

    async def _create(self, life: Life, pod: Obj) -> None:
        reason = life.pace.waiting_reason or "ContainerCreating"
        now = self._clock.timestamp()
        await self._patch(pod, statuses.creating(pod, life.node.address, now, reason))
        if not life.pace.waiting_reason:
            self._plan(life.pace.creating, life, self._run)

    async def _run(self, life: Life, pod: Obj) -> None:
        is_ready = life.pace.ready == 0
        node = life.node
        pod_ip = node.address if pod["spec"].get("hostNetwork") else node.pod_addresses.of(life.uid)
        if not pod_ip:
            # As with a real network plugin, the sandbox waits until an address is free.
            self._plan(RETRY_SECONDS, life, self._run)
            return
        now = self._clock.timestamp()
        status = statuses.running(
            pod, node.address, pod_ip, now, ready=is_ready, restarts=life.restarts
        )
        await self._patch(pod, status)
        self._plan_running(life, is_ready)

    async def _become_ready(self, life: Life, pod: Obj) -> None:
        if (pod.get("status") or {}).get("phase") == "Running":
            await self._patch(pod, statuses.became_ready(pod, self._clock.timestamp()))

    async def _exit(self, life: Life, pod: Obj) -> None:
        code, now = life.pace.exit_code, self._clock.timestamp()
        if not restarts(pod, code):
            await self._patch(pod, statuses.finished(pod, code, life.restarts, now))
            return
        await self._patch(pod, statuses.restarting(pod, code, life.restarts, now))
        self._plan(restart_seconds(life.restarts), life, self._run)
        life.restarts += 1

    async def _delete(self, life: Life, pod: Obj) -> None:
        meta = pod["metadata"]
        await self._client.delete(
            PODS, meta["name"], meta["namespace"], grace_period_seconds=0, uid=life.uid
        )

    async def _patch(self, pod: Obj, status: Obj) -> None:
        meta = pod["metadata"]
        patch = {"metadata": {"uid": meta["uid"]}, "status": status}
        await self._client.patch(
            PODS,
            meta["name"],
            patch,
            meta["namespace"],
            kind="strategic",
            subresource="status",
        )


def _is_ready(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
