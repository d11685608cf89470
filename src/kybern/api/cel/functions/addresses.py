"""``ip("10.0.0.1")`` and ``cidr("10.0.0.0/8")``: addresses and networks in expressions."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs
from kybern.api.cel.types import Type
from kybern.api.cel.values import register, size

IP, CIDR = Type("net.IP"), Type("net.CIDR")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Ip:
    address: _Address

    @property
    def cost_size(self) -> int:
        return self.address.max_prefixlen // 8


@dataclass(frozen=True, slots=True)
class Cidr:
    """A network as it was written: the address may have bits behind the prefix."""

    address: _Address
    prefix: int

    @property
    def cost_size(self) -> int:
        return self.address.max_prefixlen // 8

    def network(self) -> Any:
        return ipaddress.ip_network((self.address, self.prefix), strict=False)


register(Ip, IP.name)
register(Cidr, CIDR.name)


def parse_ip(text: str) -> Ip:
    if "%" in text:
        raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(
            f'IP Address "{text}" parse error during conversion from string: '
            f'ParseAddr("{text}"): unable to parse IP'
        ) from None
    return Ip(_unmapped(address, text))


def parse_cidr(text: str) -> Cidr:
    base, slash, bits = text.partition("/")
    try:
        address = ipaddress.ip_address(base)
        plain = bits.isascii() and bits.isdigit() and (bits == "0" or not bits.startswith("0"))
        if not slash or not plain or int(bits) > address.max_prefixlen or "%" in base:
            raise ValueError(text)
    except ValueError:
        raise EvaluationError(
            "network address parse error during conversion from string: "
            f'netip.ParsePrefix("{text}"): no valid address and prefix'
        ) from None
    return Cidr(_unmapped(address, text), int(bits))


def _unmapped(address: _Address, text: str) -> _Address:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return address


def _is_ip(text: str) -> bool:
    try:
        parse_ip(text)
    except EvaluationError:
        return False
    return True


def _is_cidr(text: str) -> bool:
    try:
        parse_cidr(text)
    except EvaluationError:
        return False
    return True


def _link_local_multicast(value: Ip) -> bool:
    packed = value.address.packed
    if len(packed) == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 0x02


def _global_unicast(value: Ip) -> bool:
    """As Go says it: private addresses count, broadcast does not."""
    address = value.address
    special = (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
    )
    return not special and address != ipaddress.IPv4Address("255.255.255.255")


def _contains_ip(network: Cidr, value: Ip | str) -> bool:
    address = (parse_ip(value) if isinstance(value, str) else value).address
    return address.version == network.address.version and address in network.network()


def _contains_cidr(network: Cidr, value: Cidr | str) -> bool:
    other = parse_cidr(value) if isinstance(value, str) else value
    if other.address.version != network.address.version or other.prefix < network.prefix:
        return False
    return other.address in network.network()


def _masked(network: Cidr) -> Cidr:
    return Cidr(network.network().network_address, network.prefix)


def _contains_cost(extra: int, parsed: bool) -> Any:
    def cost(args: Sequence[Any], result: Any) -> int:
        held = size(args[0])
        total = costs.traversal(2 * held)
        if extra:
            total += costs.traversal(held) + extra
        return total + (costs.traversal(size(args[1])) if parsed else 0)

    return cost


_I, _C = IP.name, CIDR.name

FUNCTIONS: Functions = {
    "ip": [
        overload(f"(string) -> {_I}", parse_ip, costs.scan()),
        overload(f"{_C}.() -> {_I}", lambda network: Ip(network.address)),
    ],
    "isIP": [overload("(string) -> bool", _is_ip, costs.scan())],
    "ip.isCanonical": [
        overload("(string) -> bool", lambda t: str(parse_ip(t).address) == t, costs.scan(times=2))
    ],
    "family": [overload(f"{_I}.() -> int", lambda value: value.address.version)],
    "isUnspecified": [overload(f"{_I}.() -> bool", lambda value: value.address.is_unspecified)],
    "isLoopback": [overload(f"{_I}.() -> bool", lambda value: value.address.is_loopback)],
    "isLinkLocalMulticast": [overload(f"{_I}.() -> bool", _link_local_multicast)],
    "isLinkLocalUnicast": [overload(f"{_I}.() -> bool", lambda value: value.address.is_link_local)],
    "isGlobalUnicast": [overload(f"{_I}.() -> bool", _global_unicast)],
    "cidr": [overload(f"(string) -> {_C}", parse_cidr, costs.scan())],
    "isCIDR": [overload("(string) -> bool", _is_cidr, costs.scan())],
    "containsIP": [
        overload(f"{_C}.(string) -> bool", _contains_ip, _contains_cost(0, parsed=True)),
        overload(f"{_C}.({_I}) -> bool", _contains_ip, _contains_cost(0, parsed=False)),
    ],
    "containsCIDR": [
        overload(f"{_C}.(string) -> bool", _contains_cidr, _contains_cost(1, parsed=True)),
        overload(f"{_C}.({_C}) -> bool", _contains_cidr, _contains_cost(1, parsed=False)),
    ],
    "masked": [overload(f"{_C}.() -> {_C}", _masked)],
    "prefixLength": [overload(f"{_C}.() -> int", lambda network: network.prefix)],
    "string": [
        overload(f"({_I}) -> string", lambda value: str(value.address)),
        overload(f"({_C}) -> string", lambda value: f"{value.address}/{value.prefix}"),
    ],
}
