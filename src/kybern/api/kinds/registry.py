"""The kinds that a server knows, found by URL or by ``apiVersion`` and ``kind``.

The API server builds one registry at start (:func:`builtin_registry`), adds and removes kinds as
CustomResourceDefinitions come and go, and derives discovery, OpenAPI and routing from it. Groups
and versions come in the order in which discovery lists them.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kybern.api.kinds.kind import Kind, ServedKind

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STAGE = {None: 2, "beta": 1, "alpha": 0}

# Upstream's aggregator sorts groups by priority; clients that find a kind in two groups take the
# first, so the order is part of the interface. Groups not named here come last, by name.
GROUP_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
)
_GROUP_RANK = {group: rank for rank, group in enumerate(GROUP_ORDER)}


@dataclass(frozen=True, slots=True)
class Group:
    """A served group; ``versions`` are in order of preference."""

    name: str
    versions: tuple[str, ...]

    @property
    def preferred(self) -> str:
        return self.versions[0]


class Registry:
    """Kinds by their served names. ``revision`` counts changes, for caches of derived documents."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self.revision = 0
        self._by_path: dict[tuple[str, str, str], ServedKind] = {}
        self._by_kind: dict[tuple[str, str, str], ServedKind] = {}
        self._kinds: dict[Kind, tuple[ServedKind, ...]] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind, served: Sequence[ServedKind] | None = None) -> None:
        """Serve a kind; ``served`` where its versions differ in columns or subresources."""
        entries = kind.served() if served is None else tuple(served)
        for entry in entries:
            path = (entry.group, entry.version, kind.plural)
            if path in self._by_path:
                raise ValueError(f"{entry!r} is already served")
            self._by_path[path] = entry
            self._by_kind[entry.group, entry.version, kind.kind] = entry
        self._kinds[kind] = entries
        self.revision += 1

    def remove(self, kind: Kind) -> None:
        """Stop serving a kind; its objects are the caller's concern."""
        for entry in self._kinds.pop(kind):
            del self._by_path[entry.group, entry.version, kind.plural]
            del self._by_kind[entry.group, entry.version, kind.kind]
        self.revision += 1

    def lookup(self, group: str, version: str, plural: str) -> ServedKind | None:
        """The kind that a URL names."""
        return self._by_path.get((group, version, plural))

    def by_kind(self, group: str, version: str, kind: str) -> ServedKind | None:
        """The kind that an object's ``apiVersion`` and ``kind`` name."""
        return self._by_kind.get((group, version, kind))

    def kinds(self) -> Iterator[Kind]:
        """Every kind once, in the order of registration."""
        return iter(tuple(self._kinds))

    def served(self, kind: Kind) -> tuple[ServedKind, ...]:
        """A kind under each of its versions, preferred first."""
        return self._kinds[kind]

    def resources(self, group: str, version: str) -> list[ServedKind]:
        """What one group version serves, ordered by plural as discovery lists it."""
        found = [e for e in self._by_path.values() if (e.group, e.version) == (group, version)]
        return sorted(found, key=lambda entry: entry.kind.plural)

    def groups(self) -> list[Group]:
        """Every served group with its versions, the core group (named "") first."""
        versions: dict[str, dict[str, None]] = {}
        for entry in self._by_path.values():
            versions.setdefault(entry.group, {})[entry.version] = None
        ordered = sorted(versions, key=lambda name: (_GROUP_RANK.get(name, len(_GROUP_RANK)), name))
        return [
            Group(name, tuple(sorted(versions[name], key=version_rank, reverse=True)))
            for name in ordered
        ]


def version_rank(version: str) -> tuple[int, int, int, str]:
    """A sort key by which v2 > v1 > v2beta1 > v1beta2 > v1alpha1 > anything else."""
    match = _VERSION.fullmatch(version)
    if match is None:
        # Names that are no versions sort alphabetically, so the greater name ranks lower.
        return (-1, 0, 0, "".join(chr(0x10FFFF - ord(c)) for c in version))
    major, stage, minor = match.groups()
    return (_STAGE[stage], int(major), int(minor or 0), "")


def storage_version_hash(kind: Kind) -> str:
    """What discovery shows as ``storageVersionHash``: it changes when the stored form does."""
    group_version = kind.hashed_as or f"{kind.group}/{kind.storage_version}"
    digest = hashlib.sha256(f"{group_version}/{kind.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()
