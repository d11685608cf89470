"""From the flags of ``kybern up`` to the record of the cluster that is wanted.

What was not given is taken from the last time, then from the defaults, so that a plain ``kybern
up`` brings the same cluster back. Raises click's errors for what cannot be meant, before anything
is started or written.
"""

import ipaddress
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from kybern.cluster import supervisor
from kybern.cluster.record import DEFAULT_PORT, Record

# A node gets a /24 of the pods' range, and DNS has the tenth address of the Services'.
_SMALLEST = {"cluster_cidr": 24, "service_cluster_ip_range": 28}
_DECIDED_BY_UP = ("data_dir", "advertise_address")


def wanted_record(data_dir: Path, wanted: dict[str, Any]) -> Record:
    """The cluster of a data directory as ``wanted`` says; None stands for what was not given."""
    given = _given(wanted)
    try:
        known: Record | None = Record.load(data_dir)
    except FileNotFoundError:
        known = None
    if known is None:
        given.setdefault("secure_port", DEFAULT_PORT)
        record = Record(data_dir, **_with_default_nodes(given))
    else:
        record = Record(data_dir, **{**_asked(known), **given})
        _check_change(known, record)
    if record.nodes and os.geteuid() != 0:
        raise click.UsageError(
            "real nodes need root. Without root, simulated nodes run the whole pod life without "
            "containers:\n  kybern up --nodes 0 --simulated-nodes 3"
        )
    if record.nodes > 1:
        _refuse_local_mirrors(record.registry_mirrors)
    return record


def _given(wanted: dict[str, Any]) -> dict[str, Any]:
    """What was said, checked, in the form in which a record has it."""
    given = {name: value for name, value in wanted.items() if value not in (None, ())}
    _check_component_flags(given.get("flags", ()))
    _check_mirrors(given.get("registry_mirrors", ()))
    for name, smallest in _SMALLEST.items():
        if name in given:
            given[name] = _range(name, given[name], smallest)
    etcd = tuple(
        f"apiserver:{_flag(name)}={given.pop(name)}"
        for name in sorted(given)
        if name.startswith("etcd_")
    )
    if etcd:
        given["flags"] = (*given.get("flags", ()), *etcd)
    if "disable" in given:
        given["disable"] = tuple(part for part in given["disable"].split(",") if part)
    return given


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _asked(record: Record) -> dict[str, Any]:
    every = (one.name for one in fields(record) if one.name not in _DECIDED_BY_UP)
    return {name: getattr(record, name) for name in every}


def _with_default_nodes(given: dict[str, Any]) -> dict[str, Any]:
    if "nodes" in given or "simulated_nodes" in given:
        return given
    return {**given, "nodes": 1}


def _check_change(known: Record, record: Record) -> None:
    for name in _SMALLEST:
        old, new = getattr(known, name), getattr(record, name)
        if old != new:
            raise click.UsageError(
                f"this cluster has --{_flag(name)} {old}, which cannot change;"
                " 'kybern down --wipe' forgets the cluster"
            )
    if _asked(known) != _asked(record) and supervisor.running(record.data_dir):
        raise click.UsageError(
            f"a cluster with other settings runs in {record.data_dir}; 'kybern down' stops it first"
        )


def _check_component_flags(given: tuple[str, ...]) -> None:
    from kybern.cluster.run import COMPONENTS

    for text in given:
        component, _, flag = text.partition(":")
        if component not in COMPONENTS or "=" not in flag:
            listed = ", ".join(COMPONENTS)
            raise click.BadParameter(
                f"{text!r} is not of the form COMPONENT:NAME=VALUE; components: {listed}",
                param_hint="--component-flag",
            )


def _check_mirrors(given: tuple[str, ...]) -> None:
    from kybern.cluster.nodes import registries

    for text in given:
        try:
            registries.parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--registry-mirror") from None


def _refuse_local_mirrors(mirrors: tuple[str, ...]) -> None:
    from kybern.cluster.nodes import registries

    for mirror in filter(registries.is_local, mirrors):
        raise click.UsageError(
            f"several nodes have a loopback of their own and cannot reach {mirror};"
            " give an address of this machine"
        )


def _range(name: str, text: str, smallest: int) -> str:
    """An IPv4 range with as many addresses as are needed at least."""
    hint = f"--{_flag(name)}"
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        message = f"{text!r} is not a range of IPv4 addresses: {error}"
        raise click.BadParameter(message, param_hint=hint) from None
    if network.prefixlen > smallest:
        raise click.BadParameter(
            f"{text} is too small: a /{smallest} is the least", param_hint=hint
        )
    return str(network)
