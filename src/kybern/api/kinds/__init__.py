"""Kinds as data: what the API server serves, and the rules of each kind.

The API server asks a :class:`Registry` which kind a URL or an object names, and lets the kind's
:class:`Strategy` default, prepare and validate it. One package per API group declares the kinds;
one file per kind holds its rules and columns. Rules that several kinds share are in
``api/defaults`` and ``api/validation``.
"""

from kybern.api.kinds.builtin import builtin_registry, group_versions
from kybern.api.kinds.kind import Column, Kind, ServedKind, Subresource
from kybern.api.kinds.registry import Group, Registry, storage_version_hash
from kybern.api.kinds.strategy import Strategy

__all__ = [
    "Column",
    "Group",
    "Kind",
    "Registry",
    "ServedKind",
    "Strategy",
    "Subresource",
    "builtin_registry",
    "group_versions",
    "storage_version_hash",
]
