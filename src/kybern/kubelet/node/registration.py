"""Keeps the Node object: creates it, looks at the node, reports what changed.

The node is looked at often until it is ready and every ten seconds then; the status is written when
anything but the heartbeat changed, and every five minutes, because the Lease is the heartbeat.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import NODES
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.config import Config
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.node import status
from kybern.kubelet.node.machine import Machine
from kybern.kubelet.parts import NodeFacts, Recorder
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

EAGER_SECONDS = 0.2
REPORT_SECONDS = 300.0
RETRY_SECONDS = 1.0
# A runtime that has answered may be silent this long, for a restart of its own.
RUNTIME_PATIENCE_SECONDS = 30.0


class NodeRegistration:
    """One node's Node object, until cancelled."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        config: Config,
        facts: NodeFacts,
        machine: Machine,
        runtime: Runtime,
        cgroups: Cgroups,
        runtime_healthy: Callable[[], bool],
        recorder: Recorder,
    ) -> None:
        self._client = client
        self._clock = clock
        self._config = config
        self._facts = facts
        self._machine = machine
        self._runtime = runtime
        self._cgroups = cgroups
        self._runtime_healthy = runtime_healthy
        self._recorder = recorder
        self._thresholds = config.thresholds()
        self._node: Obj | None = None
        self._reported = 0.0
        self._runtime_version = ""
        self._features: Obj = {}
        self._answered: float | None = None
        self._network_problem = ""
        self.shutdown: Callable[[], str] = str
        self.offers: Callable[[], Mapping[str, tuple[int, int]]] = dict
        self._woken = asyncio.Event()
        self.pressures: Callable[[], Collection[str]] = tuple
        self.registered = asyncio.Event()
        self.port = config.port

    @property
    def node(self) -> Obj | None:
        """The Node as last seen, once registered."""
        return self._node

    async def run(self) -> None:
        """Register, then report until cancelled."""
        while True:
            ready = False
            try:
                ready = await self._once()
            except (StatusError, ApiUnreachable) as error:
                logger.warning("node %s not reported: %s", self._facts.name, error)
                self._node = None
                await asyncio.sleep(RETRY_SECONDS)
            pause = self._config.node_status_update_frequency if ready else EAGER_SECONDS
            await self._pause(pause)

    def wake(self) -> None:
        """Look at the node at once."""
        self._woken.set()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def refresh(self) -> None:
        """Read the Node anew from the API server; without an answer the last one holds."""
        try:
            self._know(await self._client.get(NODES, self._facts.name))
        except (StatusError, ApiUnreachable) as error:
            logger.warning("node %s not read: %s", self._facts.name, error)

    def _know(self, node: Obj) -> None:
        self._node = self._facts.node = node

    async def _once(self) -> bool:
        """One look and, if due, one report; True if the node is ready."""
        health = await self.look()
        if self._node is not None:
            # Others write it too: a node that was silent finds itself declared dead.
            self._know(await self._client.get(NODES, self._facts.name, resource_version="0"))
        found = await self._status(health)
        if self._node is None:
            await self._register(found)
            self.registered.set()
        await self._report(found)
        return not (health.runtime or health.network)

    async def look(self) -> status.Health:
        """Ask the runtime and the machine; keeps the facts that pod workers read."""
        runtime, network = await self._ask_runtime()
        if not runtime and not self._runtime_healthy():
            runtime = "PLEG is not healthy: the runtime has not listed its containers for long"
        self._facts.network_ready = not network and not runtime
        self._facts.network_message = network or runtime
        return status.Health(
            runtime,
            network,
            shutdown=self.shutdown(),
            pressures=self.pressures(),
        )

    async def _ask_runtime(self) -> tuple[str, str]:
        """What is wrong with the runtime and with its network; a short silence is nothing."""
        try:
            answer = await self._runtime.status()
            await self._cgroups.settle()
        except RpcError as error:
            now = self._clock.monotonic()
            if self._answered is None or now - self._answered > RUNTIME_PATIENCE_SECONDS:
                return f"container runtime is down: {error.message}", ""
            return "", self._network_problem
        except OSError as error:
            return f"no cgroups can be made for pods: {error}", ""
        self._answered = self._clock.monotonic()
        self._features = status.features(answer)
        states = {condition.type: condition for condition in answer.status.conditions}
        runtime = _problem(states.get("RuntimeReady"), "container runtime not ready")
        network = _problem(states.get("NetworkReady"), "container runtime network not ready")
        self._network_problem = network
        return runtime, network

    async def _status(self, health: status.Health) -> Obj:
        previous = ((self._node or {}).get("status") or {}).get("conditions") or ()
        found: list[Any] = []
        if not health.runtime:
            try:
                version = await self._runtime.version()
                self._runtime_version = f"{version.runtime_name}://{version.runtime_version}"
                found = list(await self._runtime.images())
            except RpcError as error:
                logger.warning("the runtime does not list images: %s", error)
        return {
            "capacity": status.capacity(self._machine, self._config)
            | {resource: str(have) for resource, (have, _) in self.offers().items()},
            "allocatable": status.allocatable(self._machine, self._config, self._thresholds)
            | {resource: str(healthy) for resource, (_, healthy) in self.offers().items()},
            "conditions": status.conditions(health, previous, self._clock.timestamp()),
            "addresses": status.addresses(self._facts.ips, self._facts.name),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "nodeInfo": status.node_info(self._machine, self._runtime_version),
            "declaredFeatures": list(status.DECLARED_FEATURES),
            "images": status.images(found),
            **self._features,
        }

    async def _register(self, found: Obj) -> None:
        """Create the Node, or take over the one that is there."""
        wanted = new_node(self._facts.name, self._config, self._machine.architecture)
        if self._config.register_node:
            try:
                self._know(await self._client.create(NODES, {**wanted, "status": found}))
                self._event("Normal", "Starting", "Starting kubelet.")
                return
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        self._know(await self._client.get(NODES, self._facts.name))
        assert self._node is not None
        missing = {
            key: value
            for key, value in wanted["metadata"]["labels"].items()
            if (self._node["metadata"].get("labels") or {}).get(key) != value
        }
        if missing:
            patch = {"metadata": {"labels": missing}}
            self._know(await self._client.patch(NODES, self._facts.name, patch, kind="merge"))
        self._event("Normal", "Starting", "Starting kubelet.")

    async def _report(self, found: Obj) -> None:
        """Write what changed."""
        assert self._node is not None
        old = self._node.get("status") or {}
        now = self._clock.monotonic()
        changed = {key: value for key, value in found.items() if _differs(key, old.get(key), value)}
        if not changed and now - self._reported < REPORT_SECONDS:
            return
        self._tell_readiness(old, found)
        changed["conditions"] = found["conditions"]
        if "addresses" in changed:
            changed["addresses"] = [{"$patch": "replace"}, *found["addresses"]]
        self._know(
            await self._client.patch(
                NODES, self._facts.name, {"status": changed}, kind="strategic", subresource="status"
            )
        )
        self._facts.allocatable = found["allocatable"]
        self._reported = now

    def _tell_readiness(self, old: Obj, new: Obj) -> None:
        def ready(found: Obj) -> str:
            return next(
                (c["status"] for c in found.get("conditions") or () if c["type"] == "Ready"), ""
            )

        if ready(old) != ready(new):
            reason = "NodeReady" if ready(new) == "True" else "NodeNotReady"
            self._event("Normal", reason, f"Node {self._facts.name} status is now: {reason}")

    def _event(self, type: str, reason: str, message: str) -> None:
        self._recorder.event(self._facts.reference, type, reason, message)


def new_node(name: str, config: Config, architecture: str) -> Obj:
    """The Node to register: labels and taints, without a status."""
    labels = {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    labels.update(entry.partition("=")[::2] for entry in config.node_labels)
    spec: Obj = {}
    if config.register_with_taints:
        spec["taints"] = [_taint(entry) for entry in config.register_with_taints]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": spec,
    }


def _taint(entry: str) -> Obj:
    key, _, effect = entry.rpartition(":")
    key, _, value = key.partition("=")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def _problem(condition: Any, prefix: str) -> str:
    if condition is None or condition.status:
        return ""
    return f"{prefix}: {condition.type}=false reason:{condition.reason} message:{condition.message}"


def _differs(key: str, old: Any, new: Any) -> bool:
    if key != "conditions":
        return old != new
    shown = ("type", "status", "reason", "message")
    before = {c["type"]: [c.get(field) for field in shown] for c in old or ()}
    return any(before.get(c["type"]) != [c.get(field) for field in shown] for c in new)
