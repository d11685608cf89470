"""What a Service is given: cluster IPs by family, node ports, and a health-check port.

The rules are upstream's, update rules included: addresses cannot change while they are needed, a
second family can come and go, ports that a change frees are given back after it is stored.
"""

from dataclasses import dataclass, field

from kybern.api.errors import Obj, StatusError, internal_error, invalid, invalid_value
from kybern.api.kinds.core.service_changes import (
    needs_health_check_node_port,
    needs_node_ports,
    prepare_update,
)
from kybern.apiserver.allocation.cluster_ips import AddressTaken, ClusterIps, RangeFull
from kybern.apiserver.allocation.families import (
    fill_families,
    keeps_dual_stack,
    normalise_cluster_ips,
)
from kybern.apiserver.allocation.node_ports import NodePorts, PortTaken

_PORTED = ("NodePort", "LoadBalancer")


@dataclass
class _Holdings:
    """What a write has taken, and what it will give back once it is stored."""

    ips: ClusterIps
    ports: NodePorts
    dry_run: bool
    taken_ips: list[str] = field(default_factory=list)
    taken_ports: list[int] = field(default_factory=list)
    released_ips: list[str] = field(default_factory=list)
    released_ports: list[int] = field(default_factory=list)

    async def commit(self) -> None:
        await self._give_back(self.released_ips, self.released_ports)

    async def revert(self) -> None:
        await self._give_back(self.taken_ips, self.taken_ports)

    async def _give_back(self, ips: list[str], ports: list[int]) -> None:
        if self.dry_run:
            return
        for address in ips:
            await self.ips.release(address)
        if ports:
            await self.ports.release(ports)


class ServiceAllocator:
    """Allocates for Services."""

    def __init__(self, ips: ClusterIps, ports: NodePorts) -> None:
        self._ips = ips
        self._ports = ports

    async def create(self, obj: Obj, dry_run: bool) -> _Holdings:
        held = _Holdings(self._ips, self._ports, dry_run)
        try:
            normalise_cluster_ips(obj["spec"], None)
            fill_families(obj, None, self._ips.families)
            await self._allocate_ips(obj, held)
            if obj["spec"].get("type") in _PORTED:
                await self._first_ports(obj, held)
            if needs_health_check_node_port(obj["spec"]):
                await self._health_check_port(obj["spec"], held)
        except BaseException:
            await held.revert()
            raise
        return held

    async def update(self, new: Obj, old: Obj, dry_run: bool) -> _Holdings:
        held = _Holdings(self._ips, self._ports, dry_run)
        try:
            normalise_cluster_ips(new["spec"], old["spec"])
            prepare_update(new, old)
            fill_families(new, old, self._ips.families)
            await self._update_ips(new, old, held)
            await self._update_ports(new, old, held)
        except BaseException:
            await held.revert()
            raise
        return held

    async def deleted(self, obj: Obj) -> None:
        held = _Holdings(self._ips, self._ports, False)
        held.released_ips = owned_ips(obj["spec"])
        held.released_ports = owned_ports(obj["spec"])
        await held.commit()

    async def _allocate_ips(self, service: Obj, held: _Holdings) -> None:
        spec = service["spec"]
        addresses: list[str] = list(spec.get("clusterIPs") or [])
        if spec.get("type") == "ExternalName" or addresses[:1] == ["None"]:
            return
        for index, family in enumerate(spec.get("ipFamilies") or []):
            if index >= len(addresses):
                addresses.append("")
            address = await self._address(service, family, addresses[index], addresses, held)
            held.taken_ips.append(address)
            addresses[index] = address
        spec["clusterIPs"] = addresses
        if addresses:
            spec["clusterIP"] = addresses[0]

    async def _address(
        self, service: Obj, family: str, wanted: str, all_wanted: list[str], held: _Holdings
    ) -> str:
        try:
            if not wanted:
                return await self._ips.take_any(service, family, held.dry_run)
            await self._ips.take(service, wanted, held.dry_run)
        except AddressTaken as taken:
            why = f"failed to allocate IP {wanted}: {taken}"
            raise _invalid(service, "spec.clusterIPs", all_wanted, why) from None
        except RangeFull as full:
            name = service["metadata"].get("name", "")
            raise internal_error(
                f'failed to allocate a serviceIP for Service "{name}": {full}'
            ) from None
        return wanted

    async def _update_ips(self, new: Obj, old: Obj, held: _Holdings) -> None:
        after, before = new["spec"], old["spec"]
        if keeps_dual_stack(after, before):
            return
        was_external = before.get("type") == "ExternalName"
        is_external = after.get("type") == "ExternalName"
        if was_external and not is_external:
            await self._allocate_ips(new, held)
            return
        if (before.get("clusterIPs") or [""])[0] == "None":
            return
        if is_external and not was_external:
            held.released_ips += owned_ips(before)
            return
        families, had = after.get("ipFamilies") or [], before.get("ipFamilies") or []
        if len(had) == 1 and len(families) == 2:
            addresses = [*(after.get("clusterIPs") or [])]
            addresses += [""] * (2 - len(addresses))
            second = await self._address(new, families[1], addresses[1], addresses, held)
            held.taken_ips.append(second)
            after["clusterIPs"] = [addresses[0], second]
        elif len(had) == 2 and len(families) == 1:
            held.released_ips += (before.get("clusterIPs") or [])[1:2]

    async def _first_ports(self, service: Obj, held: _Holdings) -> None:
        """Ports of a new Service; those of one port number (TCP and UDP) share a node port."""
        spec = service["spec"]
        automatic = needs_node_ports(spec)
        chosen: dict[int, int] = {}
        for index, port in enumerate(spec.get("ports") or []):
            wanted = port.get("nodePort", 0)
            if not wanted and not automatic:
                continue
            known = chosen.get(port["port"], 0)
            if known and wanted in (0, known):
                port["nodePort"] = known
                continue
            if not known:
                wanted = _requested(spec, port["port"])
                if not wanted:
                    wanted = await self._any_port(held)
                    chosen[port["port"]] = port["nodePort"] = wanted
                    continue
                chosen[port["port"]] = wanted
                port["nodePort"] = wanted
            await self._port(service, index, wanted, held)

    async def _update_ports(self, new: Obj, old: Obj, held: _Holdings) -> None:
        after, before = new["spec"], old["spec"]
        had = node_ports(before)
        if after.get("type") in _PORTED:
            await self._more_ports(new, had, held)
        kept = set(node_ports(after)) if after.get("type") in _PORTED else set()
        if before.get("type") in _PORTED:
            held.released_ports += [port for port in had if port not in kept]
        needed, needs = needs_health_check_node_port(before), needs_health_check_node_port(after)
        if needs and not needed:
            await self._health_check_port(after, held)
        elif needed and not needs and before.get("healthCheckNodePort"):
            held.released_ports.append(before["healthCheckNodePort"])

    async def _more_ports(self, service: Obj, had: list[int], held: _Holdings) -> None:
        spec = service["spec"]
        automatic = needs_node_ports(spec)
        seen: set[tuple[str, int]] = set()
        for index, port in enumerate(spec.get("ports") or []):
            number = port.get("nodePort", 0)
            if not number and not automatic:
                continue
            if not number:
                number = port["nodePort"] = await self._any_port(held)
            elif number not in had and number not in held.taken_ports:
                await self._port(service, index, number, held)
            key = (port.get("protocol", "TCP"), number)
            if key in seen:
                raise internal_error(f"duplicate nodePort: {{{key[0]} {key[1]}}}")
            seen.add(key)

    async def _port(self, service: Obj, index: int, number: int, held: _Holdings) -> None:
        try:
            await self._ports.take(number, held.dry_run)
        except PortTaken as taken:
            where = f"spec.ports[{index}].nodePort"
            raise _invalid(service, where, number, str(taken)) from None
        held.taken_ports.append(number)

    async def _any_port(self, held: _Holdings) -> int:
        try:
            number = await self._ports.take_any(held.dry_run, held.taken_ports)
        except PortTaken as full:
            raise internal_error(f"failed to allocate a nodePort: {full}") from None
        held.taken_ports.append(number)
        return number

    async def _health_check_port(self, spec: Obj, held: _Holdings) -> None:
        wanted = spec.get("healthCheckNodePort", 0)
        try:
            if wanted:
                await self._ports.take(wanted, held.dry_run)
            else:
                wanted = await self._ports.take_any(held.dry_run, held.taken_ports)
        except PortTaken as taken:
            what = f"requested HealthCheck NodePort {wanted}" if wanted else "HealthCheck NodePort"
            raise internal_error(f"failed to allocate {what}: {taken}") from None
        spec["healthCheckNodePort"] = wanted
        held.taken_ports.append(wanted)


def _requested(spec: Obj, number: int) -> int:
    """The node port that somebody chose for a port number."""
    for port in spec.get("ports") or []:
        if port["port"] == number and port.get("nodePort"):
            chosen: int = port["nodePort"]
            return chosen
    return 0


def node_ports(spec: Obj) -> list[int]:
    return [port["nodePort"] for port in spec.get("ports") or [] if port.get("nodePort")]


def owned_ports(spec: Obj) -> list[int]:
    """Every node port that a stored Service holds."""
    held = node_ports(spec)
    if needs_health_check_node_port(spec) and spec.get("healthCheckNodePort"):
        held.append(spec["healthCheckNodePort"])
    return held


def owned_ips(spec: Obj) -> list[str]:
    """Every cluster IP that a stored Service holds."""
    if spec.get("type") == "ExternalName":
        return []
    return [address for address in spec.get("clusterIPs") or [] if address != "None"]


def _invalid(service: Obj, where: str, value: object, why: str) -> StatusError:
    return invalid(
        "Service", service["metadata"].get("name", ""), [invalid_value(where, value, why)]
    )
