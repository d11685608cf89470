"""``kybern why pod NAME``: one pod, what its scheduler says about it, and what else it waits for.

The explanation is read as ``explain.kybern.io``'s PodExplanation through the user's kubeconfig. On
an API server without the group, or while no scheduler answers, it is worked out here, from the
objects of the cluster, with the scheduler's default configuration. A pod of another scheduler is
told of by what its own status says.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from kybern.api.errors import StatusError
from kybern.api.objects import is_pod_terminal, pod_phase
from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS, POD_EXPLANATIONS, PODS
from kybern.client import Client
from kybern.cluster.questions.cluster_snapshot import read_cluster
from kybern.scheduler.simulate import explain

Obj = dict[str, Any]

DEFAULT_SCHEDULER = "default-scheduler"


@dataclass(frozen=True)
class Claim:
    """A claim of a pod that waits; ``phase`` is empty for one that does not exist."""

    name: str
    phase: str = ""
    storage_class: str = ""


@dataclass(frozen=True)
class Waiting:
    """A container that does not run yet, and why."""

    container: str
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Why:
    """All that is told about one pod; ``explanation`` is None if no scheduler has explained it."""

    namespace: str
    name: str
    phase: str
    node: str
    scheduler: str
    explanation: Obj | None
    worked_out_here: bool = False
    condition: str = ""
    finished: bool = False
    claims: tuple[Claim, ...] = field(default=())
    waiting: tuple[Waiting, ...] = field(default=())

    def as_json(self) -> Obj:
        given = asdict(self)
        worked_out_here = given.pop("worked_out_here")
        return {**given, "workedOutHere": worked_out_here}


@dataclass(frozen=True)
class NoSuchPod:
    """There is none in the namespace; perhaps in ``others``."""

    namespace: str
    name: str
    others: tuple[str, ...]

    @property
    def message(self) -> str:
        text = f'there is no pod "{self.name}" in the namespace "{self.namespace}"'
        if self.others:
            text += f"; there is one in: {', '.join(self.others)} (say -n)"
        return text


async def ask_why(client: Client, namespace: str, name: str) -> Why | NoSuchPod:
    """Read everything about a pod; raises StatusError where the user may not."""
    try:
        pod = await client.get(PODS, name, namespace)
    except StatusError as error:
        if error.code != 404:
            raise
        return NoSuchPod(namespace, name, await _namespaces_with(client, name))
    spec, finished = pod["spec"], is_pod_terminal(pod)
    node = spec.get("nodeName", "")
    scheduler = spec.get("schedulerName") or DEFAULT_SCHEDULER
    explanation, worked_out_here = None, False
    if not finished:
        explanation = await _explanation(client, namespace, name, pod["metadata"]["uid"])
        if explanation is None and scheduler == DEFAULT_SCHEDULER:
            explanation = await _work_out(client, pod)
            worked_out_here = explanation is not None
    return Why(
        namespace,
        name,
        pod_phase(pod),
        node,
        scheduler,
        explanation,
        worked_out_here,
        _condition_message(pod),
        finished,
        await _claims(client, pod) if not node else (),
        _waiting(pod) if node and not finished else (),
    )


async def _namespaces_with(client: Client, name: str) -> tuple[str, ...]:
    """Where there are pods of this name, as far as the user may look."""
    try:
        found = await client.list(PODS, field_selector=f"metadata.name={name}", limit=5)
    except StatusError:
        return ()
    return tuple(one["metadata"]["namespace"] for one in found.get("items") or ())


async def _explanation(client: Client, namespace: str, name: str, uid: str) -> Obj | None:
    try:
        found = await client.get(POD_EXPLANATIONS, name, namespace)
    except StatusError as error:
        if error.code == 404:
            return None
        raise
    status: Obj = found.get("status") or {}
    return status if status.get("podUID") == uid else None


async def _work_out(client: Client, pod: Obj) -> Obj | None:
    """The explanation from a snapshot; None if the user may not read nodes and pods."""
    try:
        cluster = await read_cluster(client)
    except StatusError as error:
        if error.code == 403:
            return None
        raise
    return explain(cluster.snapshot(), pod)


async def _claims(client: Client, pod: Obj) -> tuple[Claim, ...]:
    """The pod's claims that are not bound."""
    found: list[Claim] = []
    for volume in pod["spec"].get("volumes") or ():
        if source := volume.get("persistentVolumeClaim"):
            name = source["claimName"]
        elif "ephemeral" in volume:
            name = f"{pod['metadata']['name']}-{volume['name']}"
        else:
            continue
        claim = await _read_claim(client, pod["metadata"]["namespace"], name)
        if claim is not None and claim.phase != "Bound":
            found.append(claim)
    return tuple(found)


async def _read_claim(client: Client, namespace: str, name: str) -> Claim | None:
    """The claim; None if the user may not see it."""
    try:
        claim = await client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
    except StatusError as error:
        return Claim(name) if error.code == 404 else None
    phase = (claim.get("status") or {}).get("phase", "Pending")
    return Claim(name, phase, claim["spec"].get("storageClassName") or "")


def _waiting(pod: Obj) -> tuple[Waiting, ...]:
    status = pod.get("status") or {}
    found = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    states = [(one["name"], (one.get("state") or {}).get("waiting")) for one in found]
    return tuple(
        Waiting(name, state.get("reason", ""), state.get("message", ""))
        for name, state in states
        if state is not None and state.get("reason") != "PodInitializing"
    )


def _condition_message(pod: Obj) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message: str = condition.get("message", "")
            return message
    return ""
