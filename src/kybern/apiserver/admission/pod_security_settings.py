"""PodSecurity's configuration: what holds where labels do not, and what is exempt."""

from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.apiserver.admission.pod_security_standards import PRIVILEGED, Policy, policy_of
from kybern.component.flags import BadFlag

_LABEL = "pod-security.kubernetes.io/"
_MODES = ("enforce", "audit", "warn")


@dataclass(frozen=True)
class Settings:
    """``defaults`` stand in for labels; the rest names who and what is not judged."""

    defaults: Policy = Policy()
    usernames: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()

    @classmethod
    def read(cls, configuration: Obj) -> "Settings":
        """From a PodSecurityConfiguration; raises ValueError for a broken one."""
        told = configuration.get("defaults") or {}
        # Defaults are written like labels, and so they are read like them.
        labels = {
            f"{_LABEL}{mode}-version": told.get(f"{mode}-version", "latest") for mode in _MODES
        }
        labels |= {_LABEL + mode: told.get(mode, PRIVILEGED) for mode in _MODES}
        defaults, errors = policy_of(labels)
        if errors:
            wrong = errors[0].field.removeprefix(f"metadata.labels[{_LABEL}").removesuffix("]")
            raise BadFlag(f"defaults.{wrong}: {errors[0].message}")
        exempt = configuration.get("exemptions") or {}
        return cls(
            defaults,
            frozenset(exempt.get("usernames") or ()),
            frozenset(exempt.get("runtimeClasses") or ()),
            frozenset(exempt.get("namespaces") or ()),
        )

    def exempts_pod(self, spec: Obj) -> bool:
        return spec.get("runtimeClassName") in self.runtime_classes

    def ignored_labels(self, namespace: str, policy: Policy, labels: Obj) -> str:
        """A warning about labels of an exempt namespace; empty if they ask for nothing."""
        if policy.privileged or policy == self.defaults:
            return ""
        asked = [
            f"{mode}={standard}"
            for mode, standard in zip(_MODES, policy, strict=True)
            if standard.level != PRIVILEGED
            and (_LABEL + mode in labels or f"{_LABEL}{mode}-version" in labels)
        ]
        return (
            f'namespace "{namespace}" is exempt from Pod Security, and the policy '
            f"({', '.join(asked)}) will be ignored"
        )
