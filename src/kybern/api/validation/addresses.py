"""Validation of IP addresses and CIDRs."""

import ipaddress
import re
from functools import lru_cache

from kybern.api.errors import FieldError, invalid_value

_LEGACY_V4 = re.compile(r"0*(\d+)\.0*(\d+)\.0*(\d+)\.0*(\d+)")
WRONG_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
WRONG_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(4096)
def parse_ip(text: str) -> Address | None:
    """An address, or None. Leading zeros in IPv4 are taken as decimal, as upstream does."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        match = _LEGACY_V4.fullmatch(text)
        if match is None or "%" in text:
            return None
        try:
            return ipaddress.ip_address(".".join(match.groups()))
        except ValueError:
            return None


@lru_cache(4096)
def parse_cidr(text: str) -> Network | None:
    """A network, or None; bits behind the prefix are allowed."""
    if "/" not in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def ip(text: str, path: str) -> list[FieldError]:
    """An address as fields have always taken it, leading zeros and all."""
    return [] if parse_ip(text) is not None else [invalid_value(path, text, WRONG_IP)]


def ip_problems(text: str) -> tuple[str, ...]:
    """What keeps an address from being in the one form that newer fields take."""
    address = parse_ip(text)
    if address is None:
        return (WRONG_IP,)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return () if str(address) == text else (f'must be in canonical form ("{address}")',)


def canonical_ip(text: str, path: str) -> list[FieldError]:
    return [invalid_value(path, text, message) for message in ip_problems(text)]


def cidr(text: str, path: str) -> list[FieldError]:
    return [] if parse_cidr(text) is not None else [invalid_value(path, text, WRONG_CIDR)]


def canonical_cidr(text: str, path: str) -> list[FieldError]:
    """A network in the one form that newer fields take."""
    network = parse_cidr(text)
    if network is None:
        return [invalid_value(path, text, WRONG_CIDR)]
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped:
        return [invalid_value(path, text, "must not be an IPv4-mapped IPv6 address")]
    if str(network) != text:
        return [invalid_value(path, text, f'must be in canonical form ("{network}")')]
    return []


def non_special_ip(text: str, path: str, wrong: str = WRONG_IP) -> list[FieldError]:
    """An address that traffic can go to: no loopback, link-local, multicast or unspecified."""
    address = parse_ip(text)
    if address is None:
        return [invalid_value(path, text, wrong)]
    errors: list[FieldError] = []
    for is_special, message in (
        (address.is_unspecified, f"may not be unspecified ({text})"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (
            address.is_link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            _is_link_local_multicast(address),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ):
        if is_special:
            errors.append(invalid_value(path, text, message))
    return errors


def _is_link_local_multicast(address: Address) -> bool:
    if address.version == 4:
        return address in ipaddress.ip_network("224.0.0.0/24")
    return address in ipaddress.ip_network("ff02::/16")
