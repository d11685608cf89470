"""Lets every manager give a new pod its share; the policy ``none``, which heeds no nodes.

``aligning.py`` is the manager of the other policies; few nodes load it. Pods are served one after
the other, container by container, so that no manager's choice is another pod's by then.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.pods import spec
from kybern.kubelet.topology import metrics
from kybern.kubelet.topology.hints import NO_HINT, Hint, Hints

POLICIES = ("none", "best-effort", "restricted", "single-numa-node")
SCOPES = ("container", "pod")


class Share(Protocol):
    """What one manager gives to one pod. A container that has its part already keeps it."""

    def hints(self, container: Obj) -> Hints:
        """Where a container could have its part now."""
        ...

    def pod_hints(self) -> Hints:
        """Where the whole pod could have its parts now."""
        ...

    async def give(self, container: Obj, hint: Hint) -> Refusal | None:
        """Give a container its part, on the hint's nodes as far as they have it."""
        ...

    async def keep(self) -> None:
        """Make it last; raises OSError."""
        ...

    def take_back(self) -> None:
        """Undo all that was given to a pod that had nothing before."""
        ...


class Provider(Protocol):
    """A manager of something of the machine that containers are given."""

    def share(self, pod: Obj) -> Share | None:
        """The share of a pod; None for one that wants nothing."""
        ...


class TopologyManager:
    """One node's; the ``providers`` are asked in this order, about the ``nodes`` that count."""

    nodes: Sequence[int] = ()

    def __init__(self, providers: Sequence[Provider], clock: Clock) -> None:
        self._providers = providers
        self._clock = clock
        self._giving = asyncio.Lock()

    async def give(self, pod: Obj) -> Refusal | None:
        """Give a new pod its shares; one that cannot have them all has none. Raises OSError."""
        metrics.REQUESTS.inc()
        began = self._clock.monotonic()
        shares = [share for each in self._providers if (share := each.share(pod)) is not None]
        if shares:
            async with self._giving:
                refusal = await self._give_and_keep(pod, shares)
        else:
            refusal = await self._give(pod, shares)
        metrics.DURATION.observe((self._clock.monotonic() - began) * 1000)
        return refusal

    async def _give_and_keep(self, pod: Obj, shares: Sequence[Share]) -> Refusal | None:
        refusal = await self._give(pod, shares)
        if refusal is not None:
            _take_back(shares)
            return refusal
        try:
            for share in shares:
                await share.keep()
        except OSError:
            _take_back(shares)
            raise
        return None

    async def _give(self, pod: Obj, shares: Sequence[Share]) -> Refusal | None:
        return await give_containers(in_order(pod), shares, NO_HINT) if shares else None


def _take_back(shares: Sequence[Share]) -> None:
    for share in shares:
        share.take_back()


def in_order(pod: Obj) -> list[Obj]:
    """The containers as they are given their parts: those first that begin first."""
    return [*spec.init_containers(pod), *spec.containers(pod)]


async def give_containers(
    containers: Iterable[Obj], shares: Sequence[Share], hint: Hint
) -> Refusal | None:
    """Let every manager give the containers their parts; the first refusal ends it."""
    for container in containers:
        for share in shares:
            if (refusal := await share.give(container, hint)) is not None:
                return refusal
    return None


def make_topology_manager(
    config: Config, providers: Sequence[Provider], clock: Clock
) -> TopologyManager:
    """The manager for a node's configuration. Blocks; raises BadFlag where it makes no sense."""
    policy, scope = config.topology_manager_policy, config.topology_manager_scope
    if policy not in POLICIES:
        listed = " ".join(f'"{each}"' for each in POLICIES)
        raise BadFlag(
            "invalid configuration: topologyManagerPolicy (--topology-manager-policy) "
            f'"{policy}" must be one of: [{listed}]'
        )
    if scope not in SCOPES:
        raise BadFlag(
            "invalid configuration: topologyManagerScope (--topology-manager-scope) "
            f'"{scope}" must be one of: "container", or "pod"'
        )
    if policy == "none":
        return TopologyManager(providers, clock)
    from kybern.kubelet.topology.aligning import make_aligning_manager

    return make_aligning_manager(config, providers, clock)
