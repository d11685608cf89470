"""Kernel settings that a node needs, and the record that lets ``kybern down`` put them back.

Settings belong to the network namespace of the caller. Only what differs is written; its value
from before goes to the record first, so that a process killed in between loses nothing.
"""

import json
from pathlib import Path

ROOT = Path("/proc/sys")
# Forwarding; node ports at 127.0.0.1; Services between two pods of one bridge.
NODE_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/route_localnet": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
}


def apply(settings: dict[str, str], record: Path | None) -> list[str]:
    """Write ``settings``; the names of those that this kernel does not have."""
    missing = []
    for name, value in settings.items():
        file = ROOT / name
        try:
            before = file.read_text().strip()
        except OSError:
            missing.append(name)
            continue
        if before == value:
            continue
        if record is not None:
            _remember(record, name, before)
        file.write_text(value)
    return missing


def restore(record: Path) -> None:
    """Put back what the record holds and remove it; nothing happens without a record."""
    for name, value in _read(record).items():
        try:
            (ROOT / name).write_text(value)
        except OSError:
            continue
    record.unlink(missing_ok=True)


def _remember(record: Path, name: str, value: str) -> None:
    known = _read(record)
    if name in known:
        return
    known[name] = value
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(known))
    partial.replace(record)


def _read(record: Path) -> dict[str, str]:
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
