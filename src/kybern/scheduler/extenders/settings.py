"""The ``extenders`` of a KubeSchedulerConfiguration, with upstream's defaults and checks."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kybern.component.duration import parse_duration
from kybern.scheduler.requests import is_extended_resource

Obj = dict[str, Any]

DEFAULT_TIMEOUT_SECONDS = 5.0


class ExtenderSettingsError(ValueError):
    """An extender that cannot be used; the text says which field and why."""


@dataclass(frozen=True)
class TlsSettings:
    """How to trust an extender, and what to show it; PEM texts win over files."""

    insecure: bool = False
    server_name: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    ca: bytes = b""
    cert: bytes = b""
    key: bytes = b""


@dataclass(frozen=True)
class ExtenderSettings:
    """One extender. Verbs that are empty are not asked."""

    url: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    preempt_verb: str = ""
    bind_verb: str = ""
    weight: int = 1
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    caches_nodes: bool = False
    ignorable: bool = False
    resources: frozenset[str] = frozenset()
    unchecked_resources: tuple[str, ...] = ()
    tls: TlsSettings | None = None

    @property
    def decides(self) -> bool:
        """Whether the extender has a say before a pod is bound."""
        return bool(self.filter_verb or self.prioritize_verb or self.preempt_verb)


def read_extenders(documents: Sequence[Obj]) -> list[ExtenderSettings]:
    """The extenders in the order in which they are asked: those that may be ignored come last."""
    found = [_read(one, f"extenders[{index}]") for index, one in enumerate(documents)]
    if sum(bool(one.bind_verb) for one in found) > 1:
        raise ExtenderSettingsError("extenders: only one extender can implement bind")
    names = [name for one in found for name in one.resources]
    if len(set(names)) != len(names):
        raise ExtenderSettingsError("extenders: duplicate extender managed resource name")
    return sorted(found, key=lambda one: one.ignorable)


def _read(document: Obj, path: str) -> ExtenderSettings:
    weight = document.get("weight") or 0
    if document.get("prioritizeVerb") and weight <= 0:
        raise ExtenderSettingsError(f"{path}.weight: must have a positive weight applied to it")
    if not document.get("urlPrefix"):
        raise ExtenderSettingsError(f"{path}.urlPrefix: Required value")
    managed = document.get("managedResources") or ()
    for one in managed:
        if not is_extended_resource(one["name"]):
            raise ExtenderSettingsError(
                f"{path}.managedResources: {one['name']}: is an invalid extended resource name"
            )
    try:
        timeout = float(parse_duration(document.get("httpTimeout") or "0"))
        tls = _tls(document.get("tlsConfig") or {}) if document.get("enableHTTPS") else None
    except (ValueError, binascii.Error) as error:
        raise ExtenderSettingsError(f"{path}: {error}") from error
    return ExtenderSettings(
        url=document["urlPrefix"].rstrip("/"),
        filter_verb=document.get("filterVerb") or "",
        prioritize_verb=document.get("prioritizeVerb") or "",
        preempt_verb=document.get("preemptVerb") or "",
        bind_verb=document.get("bindVerb") or "",
        weight=weight,
        timeout=timeout or DEFAULT_TIMEOUT_SECONDS,
        caches_nodes=bool(document.get("nodeCacheCapable")),
        ignorable=bool(document.get("ignorable")),
        resources=frozenset(one["name"] for one in managed),
        unchecked_resources=tuple(one["name"] for one in managed if one.get("ignoredByScheduler")),
        tls=tls,
    )


def _tls(document: Obj) -> TlsSettings:
    ca, ca_file = base64.b64decode(document.get("caData") or ""), document.get("caFile") or ""
    return TlsSettings(
        # Like upstream's: whoever names no authority trusts any extender.
        insecure=bool(document.get("insecure")) or not (ca or ca_file),
        server_name=document.get("serverName") or "",
        ca_file=ca_file,
        cert_file=document.get("certFile") or "",
        key_file=document.get("keyFile") or "",
        ca=ca,
        cert=base64.b64decode(document.get("certData") or ""),
        key=base64.b64decode(document.get("keyData") or ""),
    )
