"""What can be done for a pod that fits nowhere: others are evicted, or devices are given back.

The scheduler asks ``search`` (``ask`` where extenders have a say) right after a failed decision and
hands the outcome to ``settle``, which sets things going in the background, completes the message
and says which node the pod is nominated to.
"""

from collections.abc import Mapping
from functools import partial

from kybern.client import Informer, SeriesRecorder
from kybern.client.informer import object_key
from kybern.component.clock import Clock
from kybern.scheduler.binding import Binder
from kybern.scheduler.decision import Decider
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.extenders.asking import Extenders
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.outbox import Outbox
from kybern.scheduler.plugin import Obj
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.plugins.dynamic_resources import DynamicResources
from kybern.scheduler.preemption_search import Outcome, PreemptionSearch
from kybern.scheduler.preemptor import Preemptor
from kybern.scheduler.queued_pod import QueuedPod

# What upstream's DynamicResources plugin, which is asked before preemption, answers where a plugin
# before it turned down all nodes at once; preemption is not asked then.
NOT_ASKED = "not found"


class PostFilter:
    """Does it for all profiles; ``pods`` and ``budgets`` are as the informers see them."""

    def __init__(
        self,
        deciders: Mapping[str, Decider],
        pods: Informer,
        budgets: Informer,
        nominations: Nominations,
        recorders: Mapping[str, SeriesRecorder],
        preemptor: Preemptor,
        binder: Binder,
        outbox: Outbox,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._deciders = deciders
        self._pods, self._budgets = pods, budgets
        self._nominations = nominations
        self._recorders = recorders
        self._preemptor, self._binder, self._outbox = preemptor, binder, outbox
        self._now, self._metrics = clock.monotonic, metrics
        self._searches = {
            name: PreemptionSearch(plugin, decider)
            for name, decider in deciders.items()
            if isinstance(
                plugin := decider.profile.by_name.get("DefaultPreemption"), DefaultPreemption
            )
        }

    def search(self, queued: QueuedPod, error: FitError) -> Outcome | None:
        """Where evictions make room for the pod; None if its profile does not preempt."""
        search = self._searches.get(queued.scheduler_name)
        if search is None or not error.node_count or _is_asked_of_nobody(error):
            return None
        is_preempting = self._preemptor.is_preempting(queued.uid)
        started = self._now()
        outcome = search.find(self._current(queued), error, self._budgets.list(), is_preempting)
        self._searched(queued, outcome.candidate is not None, started)
        return outcome

    async def ask(self, queued: QueuedPod, error: FitError, extenders: Extenders) -> Outcome | None:
        """The same, where extenders choose among the candidates."""
        search = self._searches.get(queued.scheduler_name)
        asked = extenders.preempt_for(queued.pod) and not _is_asked_of_nobody(error)
        if search is None or not error.node_count or not asked:
            return self.search(queued, error)
        pod = self._current(queued)
        is_preempting = self._preemptor.is_preempting(queued.uid)
        started = self._now()
        candidates, none = search.find_all(pod, error, self._budgets.list(), is_preempting)
        chosen = await extenders.choose_victims(pod, candidates) if candidates else None
        self._searched(queued, chosen is not None, started)
        return Outcome(chosen) if chosen is not None else none

    def settle(self, queued: QueuedPod, error: FitError, outcome: Outcome | None) -> str | None:
        """Evict or free what helps; returns the node that is nominated, "" for none and None for
        the one that was before."""
        if _is_asked_of_nobody(error):
            error.post_filter = NOT_ASKED
            return None
        if outcome is None:
            return ""
        if outcome.message:
            # Upstream asks its plugins one after the other, and people see both answers.
            error.post_filter = f"{self._free_devices(queued)}, {outcome.message}"
        if outcome.candidate is None:
            return None if outcome.keeps_nomination else ""
        pod = self._current(queued)
        self._nominations.add(pod, outcome.candidate.node)
        self._preemptor.preempt(pod, outcome.candidate, self._recorders[queued.scheduler_name])
        return outcome.candidate.node

    def _current(self, queued: QueuedPod) -> Obj:
        return self._pods.get(object_key(queued.pod)) or queued.pod

    def _searched(self, queued: QueuedPod, is_found: bool, started: float) -> None:
        status, seconds = "Success" if is_found else "Unschedulable", self._now() - started
        self._metrics.ran("PostFilter", status, queued.scheduler_name, seconds)
        self._metrics.searched_victims()

    def _free_devices(self, queued: QueuedPod) -> str:
        """Give devices back that keep the pod off the nodes; says what was done."""
        plugin = self._deciders[queued.scheduler_name].profile.by_name.get("DynamicResources")
        if not isinstance(plugin, DynamicResources) or not plugin.concerns(queued.pod):
            return "no new claims to deallocate"
        if (left := plugin.left_claim(queued.pod)) is not None:
            self._outbox.add(partial(self._binder.delete_claim, left))
            return "deletion of ResourceClaim completed"
        claim = plugin.stuck(queued.pod)
        if claim is None:
            return "still not schedulable"
        self._outbox.add(partial(self._binder.deallocate, claim))
        return "deallocation of ResourceClaim completed"


def _is_asked_of_nobody(error: FitError) -> bool:
    """A plugin turned the pod down before any node was looked at, so none is asked to make room;
    devices can be freed even then."""
    return bool(error.rejection) and DynamicResources.name not in error.rejected_by
