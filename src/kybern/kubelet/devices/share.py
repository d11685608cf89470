"""What one pod gets of the plugins' devices: where it could have them, and then which.

Ordinary init containers end before the others begin, who may have their devices then.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_limits
from kybern.api.quantity import Quantity
from kybern.api.resource_claims import extended_requests
from kybern.kubelet.admission.predicates import Refusal, unexpected
from kybern.kubelet.devices.plugins import Plugin, Plugins
from kybern.kubelet.pods import spec
from kybern.kubelet.topology.hints import Hint, Hints, Mask, mask_of, masks, preferring
from kybern.rpc.client import RpcError

# Device ids by container name and resource.
Given = dict[str, dict[str, list[str]]]


class DeviceShare:
    """One pod's share; ``every`` is who has what, by UID, and ``keep`` writes down the pod's."""

    def __init__(
        self,
        plugins: Plugins,
        every: dict[str, Given],
        pod: Obj,
        keep: Callable[[str], Awaitable[None]],
    ) -> None:
        self._plugins = plugins
        self._every = every
        self._pod = pod
        self._uid = spec.uid(pod)
        self._is_new = self._uid not in every
        self._lent: dict[str, list[str]] = {}
        self._keep = keep

    def hints(self, container: Obj) -> Hints:
        given = self._every.get(self._uid, {}).get(container["name"], {})
        return {
            resource: self._where(plugin, count, given.get(resource, ()))
            for resource, (plugin, count) in wanted(self._plugins, self._pod, container).items()
        }

    def pod_hints(self) -> Hints:
        found: dict[str, Sequence[Hint] | None] = {}
        limits = pod_limits(self._pod, overhead=False)
        for container in (*spec.init_containers(self._pod), *spec.containers(self._pod)):
            for resource, (plugin, _) in wanted(self._plugins, self._pod, container).items():
                given = dict.fromkeys(
                    device
                    for resources in self._every.get(self._uid, {}).values()
                    for device in resources.get(resource, ())
                )
                found[resource] = self._where(plugin, limits[resource].value(), given)
        return found

    def _where(self, plugin: Plugin, count: int, given: Iterable[str]) -> Sequence[Hint] | None:
        if not any(plugin.nodes.values()):
            return None
        free, lent = list(given), list[str]()
        fits = len(free) == count
        if not free:
            free, lent = self._free(plugin), self._lent.get(plugin.resource, [])
            fits = len(free) + len(lent) >= count
        return device_hints(plugin, free, lent, count, self._plugins.numa_nodes) if fits else ()

    async def give(self, container: Obj, hint: Hint) -> Refusal | None:
        passing = container in spec.init_containers(self._pod) and not spec.is_sidecar(container)
        for resource, (plugin, count) in wanted(self._plugins, self._pod, container).items():
            given = self._every.setdefault(self._uid, {}).setdefault(container["name"], {})
            if resource not in given:
                if not any(plugin.devices.values()):
                    return _none_healthy(resource)
                own = self._lent.get(resource, [])[:count]
                free = self._free(plugin)
                if len(own) + len(free) < count:
                    return _too_few(resource, count - len(own), len(free))
                given[resource] = await _choose(plugin, own, free, count, hint.nodes)
            others = [each for each in self._lent.get(resource, []) if each not in given[resource]]
            self._lent[resource] = [*others, *given[resource]] if passing else others
        return None

    def _free(self, plugin: Plugin) -> list[str]:
        taken = {
            device
            for given in self._every.values()
            for devices in given.values()
            for device in devices.get(plugin.resource, ())
        }
        return sorted(
            device for device, healthy in plugin.devices.items() if healthy and device not in taken
        )

    async def keep(self) -> None:
        await self._keep(self._uid)

    def take_back(self) -> None:
        if self._is_new:
            self._every.pop(self._uid, None)


def wanted(plugins: Plugins, pod: Obj, container: Obj) -> dict[str, tuple[Plugin, int]]:
    """By resource; what the container has as devices of a claim is no plugin's affair."""
    claimed = {
        each["resourceName"]
        for each in extended_requests(pod)
        if each["containerName"] == container["name"]
    }
    limits = (container.get("resources") or {}).get("limits") or {}
    return {
        resource: (plugin, count)
        for resource, amount in limits.items()
        if (plugin := plugins.get(resource)) is not None
        and resource not in claimed
        and (count := Quantity.parse(amount).value()) > 0
    }


async def _choose(
    plugin: Plugin, own: list[str], free: list[str], count: int, nodes: Mask | None
) -> list[str]:
    """So many devices: the pod's own, then those near the nodes, then what the plugin prefers."""
    chosen = list(own)
    if len(chosen) == count:
        return chosen

    def take(devices: Iterable[str]) -> None:
        chosen.extend([each for each in devices if each not in chosen][: count - len(chosen)])

    near = _near(plugin, free, nodes)
    if len(chosen) + len(near) > count:
        take(await _preferred(plugin, near, chosen, count))
    take(near)
    if len(chosen) < count:
        take(await _preferred(plugin, free, chosen, count))
        # Those that are on other nodes go before those that are on none.
        take(sorted(free, key=lambda device: device not in plugin.nodes))
    return chosen


def _near(plugin: Plugin, free: list[str], nodes: Mask | None) -> list[str]:
    """The devices on these nodes; none where no nodes are named."""
    if nodes is None:
        return []
    return [device for device in free if mask_of(plugin.nodes.get(device, ())) & nodes]


async def _preferred(plugin: Plugin, devices: list[str], taken: list[str], count: int) -> list[str]:
    try:
        told = await plugin.prefer(sorted({*devices, *taken}), list(taken), count)
    except RpcError:
        return []
    return [device for device in told if device in devices]


def device_hints(
    plugin: Plugin, free: Iterable[str], lent: Sequence[str], count: int, known: Iterable[int]
) -> list[Hint]:
    """The NUMA nodes near which so many devices are free, with all that are lent to the pod."""
    every = {device: mask_of(nodes) for device, nodes in plugin.nodes.items()}
    bearing = [node for node in known if any(mask >> node & 1 for mask in every.values())]
    candidates = bearing or list(known)
    fewest, possible = len(candidates), []
    for mask in masks(candidates):
        if sum(bool(nodes & mask) for nodes in every.values()) >= count:
            fewest = min(fewest, mask.bit_count())
        placed = [every[device] for device in lent if device in every]
        if not all(nodes & mask for nodes in placed):
            continue
        near = sum(bool(every.get(device, 0) & mask) for device in free)
        if len(placed) + near >= count:
            possible.append(mask)
    return preferring(possible, fewest)


def _none_healthy(resource: str) -> Refusal:
    return unexpected(f"no healthy devices present; cannot allocate unhealthy devices {resource}")


def _too_few(resource: str, wanted: int, left: int) -> Refusal:
    return unexpected(
        f"requested number of devices unavailable for {resource}. "
        f"Requested: {wanted}, Available: {left}"
    )
