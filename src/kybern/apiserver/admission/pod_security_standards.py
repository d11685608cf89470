"""The Pod Security Standards by level and version, and what a namespace's labels ask for.

Each check has a form per Kubernetes version that changed it; a namespace that pins a version keeps
that version's forms.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from kybern.api.errors import FieldError, Obj, invalid_value
from kybern.apiserver.admission import pod_security_baseline as baseline
from kybern.apiserver.admission import pod_security_restricted as restricted
from kybern.apiserver.admission.pod_security_words import Check, Finding

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
_RANK = {PRIVILEGED: 0, BASELINE: 1, RESTRICTED: 2}
LATEST = 1 << 30
_LABEL = "pod-security.kubernetes.io/"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")

# The forms of a check by the minor version that brought them.
Forms = dict[int, Check]

_BASELINE: dict[str, Forms] = {
    "appArmorProfile": {0: baseline.app_armor},
    "capabilities_baseline": {0: baseline.capabilities},
    "hostNamespaces": {0: baseline.host_namespaces},
    "hostPathVolumes": {0: baseline.host_path_volumes},
    "hostPorts": {0: baseline.host_ports},
    "hostProbesAndHostLifecycle": {34: baseline.host_probes},
    "privileged": {0: baseline.privileged},
    "procMount": {0: baseline.proc_mount, 35: baseline.proc_mount_35},
    "seLinuxOptions": {0: baseline.se_linux, 31: baseline.se_linux_31},
    "seccompProfile_baseline": {0: baseline.seccomp, 19: baseline.seccomp_19},
    "sysctls": {
        0: baseline.sysctls,
        27: baseline.sysctls_27,
        29: baseline.sysctls_29,
        32: baseline.sysctls_32,
    },
    "windowsHostProcess": {0: baseline.windows_host_process},
}
_RESTRICTED: dict[str, Forms] = {
    "allowPrivilegeEscalation": {
        8: restricted.privilege_escalation,
        25: restricted.but_windows(restricted.privilege_escalation),
    },
    "capabilities_restricted": {
        22: restricted.capabilities,
        25: restricted.but_windows(restricted.capabilities),
    },
    "procMount_restricted": {35: baseline.proc_mount},
    "restrictedVolumes": {0: restricted.volumes},
    "runAsNonRoot": {
        0: restricted.run_as_non_root,
        35: restricted.but_user_namespaces(restricted.run_as_non_root),
    },
    "runAsUser": {
        23: restricted.run_as_user,
        35: restricted.but_user_namespaces(restricted.run_as_user),
    },
    "seccompProfile_restricted": {
        19: restricted.seccomp,
        25: restricted.but_windows(restricted.seccomp),
    },
}
# A restricted check that is in force takes the place of the baseline check on the same matter.
_REPLACES = {
    "capabilities_restricted": "capabilities_baseline",
    "procMount_restricted": "procMount",
    "restrictedVolumes": "hostPathVolumes",
    "seccompProfile_restricted": "seccompProfile_baseline",
}


class Standard(NamedTuple):
    """A level at a version."""

    level: str = PRIVILEGED
    version: int = LATEST

    def __str__(self) -> str:
        version = "latest" if self.version == LATEST else f"v1.{self.version}"
        return f"{self.level}:{version}"

    def findings(self, metadata: Obj, spec: Obj) -> list[Finding]:
        """Everything in a pod that violates the standard."""
        if self.level == PRIVILEGED:
            return []
        checks = _in_force(_BASELINE, self.version)
        if self.level == RESTRICTED:
            stricter = _in_force(_RESTRICTED, self.version)
            for name in stricter:
                checks.pop(_REPLACES.get(name, ""), None)
            checks |= stricter
        found = (check(metadata, spec) for check in checks.values())
        return [finding for finding in found if finding is not None]


def _in_force(checks: dict[str, Forms], version: int) -> dict[str, Check]:
    chosen = {}
    for name, forms in checks.items():
        known = [since for since in forms if since <= version]
        if known:
            chosen[name] = forms[max(known)]
    return chosen


class Policy(NamedTuple):
    """What a namespace enforces and warns of; audit is what would be written down."""

    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()

    @property
    def privileged(self) -> bool:
        return all(standard.level == PRIVILEGED for standard in self)


def policy_of(
    labels: Mapping[str, str], defaults: Policy = Policy()
) -> tuple[Policy, list[FieldError]]:
    """The policy that labels ask for; a broken enforce level enforces the strictest."""
    errors: list[FieldError] = []
    enforce = _standard(labels, "enforce", defaults.enforce, RESTRICTED, errors)
    audit = _standard(labels, "audit", defaults.audit, PRIVILEGED, errors)
    warn = _standard(labels, "warn", defaults.warn, PRIVILEGED, errors)
    sound = labels.get(_LABEL + "enforce") in _RANK
    if sound and f"{_LABEL}warn" not in labels and is_stricter(enforce, warn):
        version = warn.version if f"{_LABEL}warn-version" in labels else enforce.version
        warn = Standard(enforce.level, version)
    return Policy(enforce, audit, warn), errors


def is_stricter(one: Standard, other: Standard) -> bool:
    """By level alone."""
    return _RANK[one.level] > _RANK[other.level]


def _standard(
    labels: Mapping[str, str],
    mode: str,
    default: Standard,
    fallback: str,
    errors: list[FieldError],
) -> Standard:
    level = labels.get(_LABEL + mode, default.level)
    if level not in _RANK:
        errors.append(_invalid(mode, level, f"must be one of {', '.join(_RANK)}"))
        level = fallback
    text = labels.get(f"{_LABEL}{mode}-version")
    if text is None:
        return Standard(level, default.version)
    match = _VERSION.fullmatch(text)
    if match is None and text != "latest":
        errors.append(_invalid(f"{mode}-version", text, 'must be "latest" or "v1.x"'))
    return Standard(level, int(match[1]) if match else LATEST)


def _invalid(name: str, value: str, why: str) -> FieldError:
    return invalid_value(f"metadata.labels[{_LABEL}{name}]", value, why)
