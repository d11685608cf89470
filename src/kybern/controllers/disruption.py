"""Tells in every PodDisruptionBudget's status how many of its pods may be disrupted now.

How many pods are expected follows from the scale of their controllers, so that a budget in percent
holds while some are missing. Evictions that the API server has let through are noted in
``status.disruptedPods`` until their pods go; an entry whose pod is still there after two minutes is
dropped. A pod that was marked as a target of disruption and lives on loses that mark, too.
"""

from collections.abc import Mapping

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Resource,
)
from kybern.api.selectors import LabelSelector
from kybern.controllers import api_resources
from kybern.controllers.controller import Context, Controller
from kybern.controllers.replicas import is_same_status
from kybern.controllers.share import share

DELETION_TIMEOUT_SECONDS = 120.0
STALE_TARGET_SECONDS = 120.0
# Pod keys in the queue, beside those of budgets.
STALE = "stale pod "


class ScaleUnknown(Exception):
    """The pods' controllers do not say how many there should be."""


class DisruptionController(Controller):
    """Keyed by PodDisruptionBudget, and by pods that may carry a stale mark."""

    name = "disruption-controller"
    account = "disruption-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.budgets = self.watch(POD_DISRUPTION_BUDGETS)
        self.pods = self.read(PODS)
        self.pods.on_change(self._pod_changed)
        self.scaled = {
            (one.group, one.kind): self.watch(one, self._budgets_over_template)
            for one in (REPLICA_SETS, DEPLOYMENTS, STATEFUL_SETS, REPLICATION_CONTROLLERS)
        }
        self.recorder = context.recorder(self.client, "controllermanager")
        self.served: dict[tuple[str, str], Resource] = {}

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for pod in (old, new):
            if pod is not None:
                for key in self._budgets_over(objects.namespace(pod), objects.labels(pod)):
                    self.queue.add(key)
        if new is not None and _is_marked(new):
            self.queue.add(STALE + objects.key(new))

    def _budgets_over_template(self, owner: Obj) -> list[str]:
        template = (objects.spec(owner).get("template") or {}).get("metadata") or {}
        return self._budgets_over(objects.namespace(owner), template.get("labels") or {})

    def _budgets_over(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Keys of the namespace's budgets whose selector matches."""
        return [
            objects.key(budget)
            for budget in self.budgets.list(namespace)
            if _selector(budget).matches(labels)
        ]

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(STALE):
            return await self._unmark(key.removeprefix(STALE))
        budget = self.budgets.get(key)
        if budget is None:
            return None
        try:
            return await self._count(budget)
        except ScaleUnknown as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            await self._fail_safe(budget, str(error))
            return None

    async def _count(self, budget: Obj) -> float | None:
        selector = _selector(budget)
        pods = [
            pod
            for pod in self.pods.list(objects.namespace(budget))
            if selector.matches(objects.labels(pod))
        ]
        if not pods:
            self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        expected, desired = await self._expected(budget, pods)
        disrupted, again = self._disrupted(budget, pods)
        healthy = sum(
            objects.is_pod_ready(pod)
            and not objects.is_deleting(pod)
            and objects.name(pod) not in disrupted
            for pod in pods
        )
        allowed = max(healthy - desired, 0) if expected > 0 else 0
        wanted: Obj = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": objects.generation(budget),
        }
        if disrupted:
            wanted["disruptedPods"] = disrupted
        condition = ("True", "SufficientPods", "") if allowed else ("False", "InsufficientPods", "")
        await self._write(budget, wanted, condition)
        return again

    async def _expected(self, budget: Obj, pods: list[Obj]) -> tuple[int, int]:
        """(expected pods, pods that must stay healthy)."""
        spec = objects.spec(budget)
        most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
        try:
            if most is not None:
                expected = await self._scale(budget, pods)
                return expected, max(expected - share(most, expected, True), 0)
            if isinstance(least, str):
                expected = await self._scale(budget, pods)
                return expected, share(least, expected, True)
        except ValueError as error:
            raise ScaleUnknown(str(error)) from None
        return (len(pods), least) if least is not None else (0, 0)

    async def _scale(self, budget: Obj, pods: list[Obj]) -> int:
        """The sum of the scales of the pods' controllers."""
        scales: dict[str, int] = {}
        unmanaged = False
        for pod in pods:
            reference = objects.controller_of(pod)
            if reference is None:
                unmanaged = True
            elif reference["uid"] not in scales:
                uid, scale = await self._scale_of(reference, pod)
                scales[uid] = scale
        if unmanaged:
            text = (
                f"Pods selected by this PodDisruptionBudget (selector: {_selector(budget)}) were"
                " found to be unmanaged. As a result, the status of the PDB cannot be calculated"
                " correctly, which may result in undefined behavior. To account for these pods"
                ' please set ".spec.minAvailable" field of the PDB to an integer value.'
            )
            self.recorder.event(budget, "Warning", "UnmanagedPods", text)
        return sum(scales.values())

    async def _scale_of(self, reference: Obj, pod: Obj) -> tuple[str, int]:
        """The uid and scale of what controls the pod: a ReplicaSet's Deployment, if it has one."""
        namespace = objects.namespace(pod)
        group = reference["apiVersion"].rpartition("/")[0]
        informer = self.scaled.get((group, reference["kind"]))
        if informer is None:
            return await self._scale_by_subresource(reference, pod)
        owner = informer.get(f"{namespace}/{reference['name']}")
        if owner is None or objects.uid(owner) != reference["uid"]:
            return reference["uid"], 0
        parent = objects.controller_of(owner)
        if parent is not None and parent["kind"] == "Deployment":
            deployments = self.scaled["apps", "Deployment"]
            deployment = deployments.get(f"{namespace}/{parent['name']}")
            if deployment is None or objects.uid(deployment) != parent["uid"]:
                return reference["uid"], 0
            owner = deployment
        return objects.uid(owner), owner["spec"].get("replicas", 1)

    async def _scale_by_subresource(self, reference: Obj, pod: Obj) -> tuple[str, int]:
        """Any other kind is asked for its ``scale``."""
        kind = (reference["apiVersion"], reference["kind"])
        if kind not in self.served:
            found, _ = await api_resources.discover(self.client)
            self.served = {(r.resource.api_version, r.resource.kind): r.resource for r in found}
        resource = self.served.get(kind)
        try:
            if resource is None:
                raise StatusError(404, "NotFound", "")
            scale = await self.client.get(
                resource, reference["name"], objects.namespace(pod), subresource="scale"
            )
        except StatusError as error:
            if error.code != 404:
                raise
            group = reference["apiVersion"].rpartition("/")[0]
            resource_name = f"{resource.plural if resource else reference['kind']}.{group}"
            raise ScaleUnknown(
                f"{resource_name.rstrip('.')} does not implement the scale subresource"
            ) from None
        return reference["uid"], (scale.get("spec") or {}).get("replicas", 0)

    def _disrupted(self, budget: Obj, pods: list[Obj]) -> tuple[dict[str, str], float | None]:
        """Evictions whose pods are still to go, and when the first of them is overdue."""
        noted = objects.status(budget).get("disruptedPods") or {}
        now = self.clock.time()
        left: dict[str, str] = {}
        waits: list[float] = []
        for pod in pods:
            since = noted.get(objects.name(pod))
            if since is None or objects.is_deleting(pod):
                continue
            wait = objects.epoch(since) + DELETION_TIMEOUT_SECONDS - now
            if wait > 0:
                left[objects.name(pod)] = since
                waits.append(wait)
                continue
            namespace = objects.namespace(budget)
            text = f"Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't"
            self.recorder.event(pod, "Warning", "NotDeleted", text)
        return left, min(waits, default=None)

    async def _fail_safe(self, budget: Obj, message: str) -> None:
        """Without knowing the pods no disruption is allowed."""
        status = {**objects.status(budget), "disruptionsAllowed": 0}
        await self._write(budget, status, ("False", "SyncFailed", message))

    async def _write(self, budget: Obj, wanted: Obj, condition: tuple[str, str, str]) -> None:
        status = {**wanted, "conditions": objects.conditions(objects.copy(budget))}
        shell = {"status": status}
        generation = wanted.get("observedGeneration", 0)
        objects.set_condition(
            shell,
            "DisruptionAllowed",
            *condition,
            self.clock.timestamp(),
            observedGeneration=generation,
        )
        held = objects.condition(shell, "DisruptionAllowed") or {}
        # Both are required fields of the condition, also when there is nothing to say.
        held.update(observedGeneration=generation, message=condition[2])
        if not is_same_status(status, objects.status(budget)):
            await self.client.update_status(POD_DISRUPTION_BUDGETS, {**budget, "status": status})

    async def _unmark(self, key: str) -> float | None:
        """A marked pod that nobody has deleted in time is no target any more."""
        pod = self.pods.get(key)
        if pod is None or not _is_marked(pod):
            return None
        mark = objects.condition(pod, "DisruptionTarget") or {}
        wait = objects.epoch(mark["lastTransitionTime"]) + STALE_TARGET_SECONDS - self.clock.time()
        if wait > 0:
            return wait
        changed = objects.copy(pod)
        objects.set_condition(changed, "DisruptionTarget", "False", "", "", self.clock.timestamp())
        await self.client.update_status(PODS, changed)
        return None


def _selector(budget: Obj) -> LabelSelector:
    return LabelSelector.from_object(objects.spec(budget).get("selector"))


def _is_marked(pod: Obj) -> bool:
    """Marked as a target of disruption by somebody else than its kubelet, and still alive."""
    mark = objects.condition(pod, "DisruptionTarget")
    return (
        mark is not None
        and mark["status"] == "True"
        and mark.get("reason") != "TerminationByKubelet"
        and objects.is_pod_active(pod)
    )
