"""``--runtime-config`` and the feature gates of the API server: which versions are served.

Stable versions are served unless they are switched off, beta and alpha versions once they are
switched on, as upstream. Some kinds ask for their feature gate as well. The keys are upstream's:
``api/all``, ``api/ga``, ``api/beta`` and ``api/alpha`` first, then a group and version (``/v1`` is
the core group's), then a group, version and resource.
"""

import logging
import re
from collections.abc import Iterable, Mapping

from kybern.component.feature_gates import FeatureGates
from kybern.component.flags import BadFlag

log = logging.getLogger(__name__)

# The gates that this server can switch.
SWITCHABLE_GATES = (
    "ClusterTrustBundle",
    "ClusterTrustBundleProjection",
    "PodCertificateRequest",
)
_GATES = {
    ("certificates.k8s.io", "clustertrustbundles"): "ClusterTrustBundle",
    ("certificates.k8s.io", "podcertificaterequests"): "PodCertificateRequest",
}
# What the server itself works with.
NEEDED = (
    ("", "v1", ("configmaps", "endpoints", "namespaces", "secrets", "serviceaccounts", "services")),
    ("apiextensions.k8s.io", "v1", ("customresourcedefinitions",)),
    ("discovery.k8s.io", "v1", ("endpointslices",)),
    (
        "flowcontrol.apiserver.k8s.io",
        "v1",
        ("flowschemas", "prioritylevelconfigurations"),
    ),
    ("networking.k8s.io", "v1", ("ipaddresses", "servicecidrs")),
    (
        "rbac.authorization.k8s.io",
        "v1",
        ("clusterrolebindings", "clusterroles", "rolebindings", "roles"),
    ),
    ("scheduling.k8s.io", "v1", ("priorityclasses",)),
)
_STAGES: dict[str, re.Pattern[str]] = {
    "api/all": re.compile(r".*"),
    "api/ga": re.compile(r"v\d+"),
    "api/beta": re.compile(r"v\d+beta\d+"),
    "api/alpha": re.compile(r"v\d+alpha\d+"),
}
_TRUE = frozenset({"", "1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})

GroupVersion = tuple[str, str]


class ApiEnablement:
    """Answers for the group versions that this server has; raises ValueError for broken flags."""

    def __init__(
        self, settings: Iterable[str], known: Iterable[GroupVersion], gates: FeatureGates
    ) -> None:
        chosen = dict(map(_setting, filter(None, settings)))
        versions = list(dict.fromkeys(known))
        _check(chosen, versions)
        self._gates = gates
        self._versions = _by_stage(chosen, versions)
        self._resources: dict[tuple[str, str, str], bool] = {}
        for key, value in chosen.items():
            if key in _STAGES:
                continue
            group, version, *resource = key.split("/")
            enabled = _boolean(key, value)
            if (group, version) not in self._versions:
                shown = f"{group}/{version}" if group else version
                raise BadFlag(f"group version {shown} that has not been registered")
            if not resource:
                self._versions[group, version] = enabled
            elif resource[0] != resource[0].lower():
                raise BadFlag(
                    f"invalid key {key}: group/version/resource and resource is always lowercase "
                    f'plural, not "{resource[0]}"'
                )
            else:
                self._resources[group, version, resource[0]] = enabled

        for group, version, plurals in NEEDED:
            for plural in plurals:
                if not self.serves(group, version, plural):
                    raise BadFlag(
                        f"runtime-config cannot switch off {group}/{version}/{plural}, "
                        "which this server itself works with"
                    )

    def serves(self, group: str, version: str, plural: str) -> bool:
        """Whether a resource is served under a version."""
        enabled = self._resources.get((group, version, plural), self._versions[group, version])
        gate = _GATES.get((group, plural))
        if enabled and gate and not self._gates.enabled(gate):
            log.warning("%s are not served because the feature gate %s is off.", plural, gate)
            return False
        return enabled


def _setting(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip(), value.strip()


def _check(chosen: Mapping[str, str], known: Iterable[GroupVersion]) -> None:
    if list(chosen.items()) == [("api/all", "false")]:
        raise BadFlag("invalid runtime-config with only api/all=false")
    groups = {group for group, _ in known}
    unknown: set[str] = set()
    for key in chosen:
        parts = key.split("/")
        if len(parts) not in (2, 3):
            raise BadFlag(f"runtime-config invalid key {key}")
        if key not in _STAGES and parts[0] not in groups:
            unknown.add(f"{parts[0]}/{parts[1]}")
    if unknown:
        raise BadFlag(f"unknown api groups {','.join(sorted(unknown))}")


def _by_stage(chosen: Mapping[str, str], known: Iterable[GroupVersion]) -> dict[GroupVersion, bool]:
    """What is served before single versions are looked at."""
    stable = _STAGES["api/ga"]
    versions = {entry: bool(stable.fullmatch(entry[1])) for entry in known}
    for key, pattern in _STAGES.items():
        if key not in chosen:
            continue
        if chosen[key] not in ("true", "false"):
            raise BadFlag(f"invalid value {key}={chosen[key]}")
        for entry in versions:
            if pattern.fullmatch(entry[1]):
                versions[entry] = chosen[key] == "true"
    return versions


def _boolean(key: str, value: str) -> bool:
    if value not in _TRUE | _FALSE:
        problem = f'strconv.ParseBool: parsing "{value}": invalid syntax'
        raise BadFlag(f"invalid value of {key}: {value}, err: {problem}")
    return value in _TRUE
