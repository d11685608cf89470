"""Admits pods to the node and grants resizes, one decision after the other.

A pod worker asks :meth:`Admission.admit` before it touches anything, tells newer specs by
:meth:`observe`, and works with :meth:`granted`. A decision and its grant happen without a pause
between them, so that two pods never get the same resources. A kubelet that starts again judges the
pods that run like new ones, with what they were granted and beside those that are older, as
upstream does: what no longer belongs on the node ends. Resizes that do not fit are tried again, the
most important first, whenever another pod gives something back, and every three minutes.
"""

import asyncio
from collections.abc import Awaitable, Callable

from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_requests
from kybern.api.quantity import Quantity
from kybern.component.clock import Clock
from kybern.kubelet.admission import predicates, preemption, resizes
from kybern.kubelet.admission.allocations import Allocations, asked
from kybern.kubelet.admission.predicates import Holder, Refusal, holder
from kybern.kubelet.admission.resizes import Resizes
from kybern.kubelet.pods import spec

FIRST_RETRY_SECONDS = 30.0
RETRY_SECONDS = 180.0

_QOS_ORDER = ("Guaranteed", "Burstable", "BestEffort")

_ZERO = Quantity.parse("0")

# Ends pods in favour of another one, and returns when they have ended.
Preempt = Callable[[list[Obj]], Awaitable[None]]
# Sets aside what a new pod needs beside what its requests say.
Reserve = Callable[[Obj], Awaitable[Refusal | None]]
# An event about a pod: type, reason, message.
Report = Callable[[Obj, str, str, str], None]
Judge = Callable[[Obj], Refusal | None]


class Admission:
    """One node's gate.

    ``node`` is the Node as last seen, ``allocatable`` what it offers to pods; ``refresh`` asks the
    API server for the Node anew. ``judges`` are further voices on new pods and on resizes,
    ``resize_judges`` compare a granted pod with what it wants to be, and ``preempt`` ends those
    that make room for a critical one. ``reserves`` set aside what else a new pod needs, which
    ``pinned`` adds to a granted pod. ``on_change`` is told the UID of a pod whose grant or
    conditions changed.
    """

    def __init__(
        self,
        allocations: Allocations,
        node: Callable[[], Obj],
        allocatable: Callable[[], Obj],
        clock: Clock,
        report: Report,
    ) -> None:
        self._allocations = allocations
        self._node = node
        self._allocatable = allocatable
        self._clock = clock
        self._report = report
        self._resizes = Resizes()
        self._pods: dict[str, Obj] = {}
        self._holders: dict[str, Holder] = {}
        self.judges: list[Judge] = []
        self.resize_judges: list[Callable[[Obj, Obj], Refusal | None]] = []
        self.preempt: Preempt | None = None
        self.reserves: list[Reserve] = []
        self.pinned: Callable[[Obj], Obj] = lambda pod: pod
        self.refresh: Callable[[], Awaitable[None]] | None = None
        self.on_change: Callable[[str], None] = lambda uid: None

    # New pods.

    def knows(self, uid: str) -> bool:
        """Whether a pod was granted its resources, by this kubelet or an earlier one."""
        return self._allocations.known(uid)

    def recall(self, pod: Obj) -> bool:
        """Take back a pod that was admitted before; True if it was."""
        if not self.knows(spec.uid(pod)):
            return False
        self._hold(pod)
        return True

    async def admit(self, pod: Obj) -> Refusal | None:
        """Judge a pod; without a refusal it holds its resources until :meth:`release`.

        Raises OSError where what it would hold cannot be written down.
        """
        uid = spec.uid(pod)
        is_known = self.recall(pod)
        judge = self._refuse_again if is_known else self._refuse
        refusal = judge(pod)
        if refusal is not None and refusal.reason == "NodeAffinity" and self.refresh is not None:
            # A label may be newer than the last look at the Node.
            await self.refresh()
            refusal = judge(pod)
        victims: list[Obj] = []
        if refusal is not None:
            if self.preempt is None or not self._lacks_only_room(pod):
                # What runs gives its room up before it has ended, as upstream has it.
                self._holders.pop(uid, None)
                return refusal
            try:
                victims = self._victims(pod)
            except preemption.NoVictims as error:
                text = "Unexpected error while attempting to recover from admission failure"
                return Refusal("UnexpectedAdmissionError", f"{text}: {error}")
        if is_known:
            self._reconsider(pod)
        else:
            self._allocations.grant(pod)
            self._hold(pod)
        if victims and self.preempt is not None:
            # The pod holds its resources already, so what these give up is for nobody else.
            await self.preempt(victims)
        try:
            for reserve in self.reserves:
                if (refusal := await reserve(pod)) is not None:
                    self.release(uid)
                    return refusal
        except OSError:
            self.release(uid)
            raise
        return None

    def release(self, uid: str) -> None:
        """The pod has ended on this node; others may have what it held."""
        self._allocations.forget(uid)
        self._resizes.forget(uid)
        self._pods.pop(uid, None)
        if self._holders.pop(uid, None) is not None:
            self.retry()

    def _hold(self, pod: Obj) -> None:
        uid = spec.uid(pod)
        self._pods[uid] = pod
        self._holders[uid] = holder(self.granted(pod))

    def _refuse(self, pod: Obj) -> Refusal | None:
        return self._judged(pod, self._others(pod))

    def _judged(self, pod: Obj, others: list[Holder]) -> Refusal | None:
        for judge in self.judges:
            if (refusal := judge(pod)) is not None:
                return refusal
        return predicates.refusal(pod, self._node(), self._allocatable(), others)

    def _refuse_again(self, pod: Obj) -> Refusal | None:
        """Judge a pod that runs: only older ones come before it."""
        older = [held for uid, held in self._holders.items() if _age(self._pods[uid]) < _age(pod)]
        return self._judged(self._allocations.granted(pod), older)

    def _others(self, pod: Obj) -> list[Holder]:
        return [held for uid, held in self._holders.items() if uid != spec.uid(pod)]

    def _lacks_only_room(self, pod: Obj) -> bool:
        """Whether a critical pod would be taken if others had less."""
        if not spec.is_critical(pod) or any(judge(pod) is not None for judge in self.judges):
            return False
        others = self._others(pod)
        return not (
            predicates.unsupported(pod, self._node())
            or predicates.unplaceable(pod, self._node(), others)
        )

    def _victims(self, pod: Obj) -> list[Obj]:
        uid = spec.uid(pod)
        short = predicates.shortages(pod, self._allocatable(), self._others(pod))
        held = [self.granted(other) for other in self._pods.values() if spec.uid(other) != uid]
        return preemption.victims(pod, held, short)

    # Resizes.

    def granted(self, pod: Obj) -> Obj:
        """The pod with the resources that it was granted."""
        return self.pinned(self._allocations.granted(pod))

    def burstable_cpu(self) -> int:
        """What all burstable pods of the node were granted of CPU, in thousandths of a core."""
        return sum(
            self._holders[uid].requests.get("cpu", _ZERO).milli()
            for uid, pod in self._pods.items()
            if spec.qos_class(pod) == "Burstable"
        )

    async def save(self, uid: str) -> None:
        """Make a new grant last; to be awaited before anything is done by it."""
        await self._allocations.save(uid)

    def observe(self, pod: Obj) -> None:
        """A newer spec of a pod; a change of its resources is granted at once if it fits."""
        uid = spec.uid(pod)
        old = self._pods.get(uid)
        if old is None:
            return
        self._pods[uid] = pod
        if asked(old) != asked(pod):
            self._reconsider(pod)

    def _reconsider(self, pod: Obj) -> None:
        """Try a pod's resize, after whichever resize goes before it."""
        uid = spec.uid(pod)
        if self._allocations.covers(pod):
            if self._resizes.pending.pop(uid, None) is not None:
                self.on_change(uid)
            return
        self._resizes.pending.pop(uid, None)
        waiting = self._deferred()
        waiting.append(pod)
        self._try_all(waiting)

    def retry(self) -> None:
        """Try again what did not fit."""
        self._try_all(self._deferred())

    def _deferred(self) -> list[Obj]:
        return [
            self._pods[uid]
            for uid, stage in self._resizes.pending.items()
            if stage.reason == resizes.DEFERRED
        ]

    def _try_all(self, pods: list[Obj]) -> None:
        for pod in sorted(pods, key=self._precedence):
            self._try(pod)

    def _precedence(self, pod: Obj) -> tuple[bool, int, int, float]:
        """Those that ask for no more first, then by priority, by service class, by waiting time."""
        before, after = pod_requests(self.granted(pod)), pod_requests(pod)
        grows = any(
            name in after and (name not in before or before[name] < after[name])
            for name in ("cpu", "memory")
        )
        stage = self._resizes.pending.get(spec.uid(pod))
        return (
            grows,
            -(pod["spec"].get("priority") or 0),
            _QOS_ORDER.index(spec.qos_class(pod)),
            self._clock.time() if stage is None else stage.since,
        )

    def _try(self, pod: Obj) -> None:
        now, generation = self._clock.time(), pod["metadata"].get("generation", 0)
        granted = self.granted(pod)
        voices = (judge(granted, pod) for judge in self.resize_judges)
        refusal = next(filter(None, voices), None) or self._refuse(pod)
        if refusal is None:
            self._allocations.grant(pod)
            self._hold(pod)
            self._resizes.begin(pod, now)
            text = resizes.summary(pod, "Pod resize started", generation)
            self._report(pod, "Normal", "ResizeStarted", text)
            self.on_change(spec.uid(pod))
            return
        reason = resizes.INFEASIBLE if refusal.reason == resizes.INFEASIBLE else resizes.DEFERRED
        if self._resizes.postpone(pod, reason, refusal.message, now):
            text = resizes.summary(pod, f"Pod resize {reason}", generation, refusal.message)
            self._report(pod, "Warning", f"Resize{reason}", text)
            self.on_change(spec.uid(pod))

    def settle(self, pod: Obj, due: bool) -> None:
        """What a look at the runtime found: whether it still has to be resized."""
        uid = spec.uid(pod)
        stage = self._resizes.in_progress.get(uid)
        if stage is not None and pod["metadata"].get("generation", 0) < stage.generation:
            # A sync that began before this resize was granted knows nothing of it.
            return
        if due and stage is None:
            self._resizes.begin(pod, self._clock.time())
        elif not due and stage is not None:
            del self._resizes.in_progress[uid]
            text = resizes.summary(pod, "Pod resize completed", stage.generation)
            self._report(pod, "Normal", "ResizeCompleted", text)

    def fail(self, pod: Obj, message: str) -> None:
        """A granted resize did not work; the pod worker tries again."""
        if self._resizes.fail(pod, message, self._clock.time()):
            generation = self._resizes.in_progress[spec.uid(pod)].generation
            text = resizes.summary(pod, "Pod resize error", generation, message)
            self._report(pod, "Warning", "ResizeError", text)

    def conditions(self, uid: str) -> list[Obj]:
        """The pod's resize conditions, without transition times."""
        return self._resizes.conditions(uid)

    async def run(self) -> None:
        """Try again now and then, until cancelled."""
        await asyncio.sleep(FIRST_RETRY_SECONDS)
        while True:
            self.retry()
            await asyncio.sleep(RETRY_SECONDS)


def _age(pod: Obj) -> tuple[str, str]:
    """Sorts pods by when they were made; static ones of a manifest come first."""
    return (pod["metadata"].get("creationTimestamp") or "", spec.uid(pod))
