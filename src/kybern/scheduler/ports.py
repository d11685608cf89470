"""Host ports: which a pod takes on its node, and which collide."""

from typing import Any, NamedTuple

Obj = dict[str, Any]

ANY_ADDRESS = "0.0.0.0"


class HostPort(NamedTuple):
    address: str
    protocol: str
    port: int

    def collides(self, other: "HostPort") -> bool:
        """The wildcard address collides with every address."""
        if self.port != other.port or self.protocol != other.protocol:
            return False
        return self.address == other.address or ANY_ADDRESS in (self.address, other.address)


def host_ports(spec: Obj) -> tuple[HostPort, ...]:
    """The host ports of containers and sidecars; a plain init container's do not count."""
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return tuple(
        HostPort(port.get("hostIP") or ANY_ADDRESS, port.get("protocol") or "TCP", port["hostPort"])
        for container in (*spec["containers"], *sidecars)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )
