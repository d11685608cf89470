"""PodSecurity: pods meet the Pod Security Standard that their namespace's labels name.

Pods are refused by the enforced standard and warned about by the other; workloads that make pods
are only warned about. A namespace whose enforced standard becomes stricter tells which of its pods
would no longer be let in.
"""

from collections.abc import Sequence

from kybern.api.errors import Obj, forbidden, invalid
from kybern.api.objects import controller_of
from kybern.api.resources import NAMESPACES, PODS
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.admission.pod_security_settings import Settings
from kybern.apiserver.admission.pod_security_standards import (
    PRIVILEGED,
    Policy,
    Standard,
    is_stricter,
    policy_of,
)
from kybern.apiserver.admission.pod_security_words import Finding
from kybern.apiserver.admission.pod_templates import WITH_TEMPLATES, pod_template
from kybern.apiserver.lookup import Lookup

_MAX_PODS_CHECKED = 3000
_CHANGES_PODS = ("", "ephemeralcontainers", "resize")


class PodSecurity(Plugin):
    name = "PodSecurity"
    operations = (CREATE, UPDATE)
    subresources = _CHANGES_PODS
    resources = (("", "namespaces"), ("", "pods"), *WITH_TEMPLATES)

    def __init__(self, configuration: Obj, lookup: Lookup) -> None:
        self._settings = Settings.read(configuration)
        self._lookup = lookup

    async def validate(self, attributes: AdmissionAttributes) -> None:
        obj = attributes.object
        if obj is None:
            return
        settings = self._settings
        if attributes.resource == "namespaces":
            self._namespace(attributes, obj)
        elif (
            attributes.namespace in settings.namespaces
            or attributes.user.name in settings.usernames
        ):
            return
        elif attributes.resource == "pods":
            self._pod(attributes, obj)
        elif not attributes.subresource:
            self._workload(attributes, obj)

    def _pod(self, attributes: AdmissionAttributes, pod: Obj) -> None:
        policy = self._policy(attributes.namespace)
        old = attributes.old_object
        if self._settings.exempts_pod(pod["spec"]):
            return
        if policy.privileged or (old is not None and not _significant(pod, old)):
            return
        findings = policy.enforce.findings(pod["metadata"], pod["spec"])
        if findings:
            why = f'violates PodSecurity "{policy.enforce}": {_details(findings)}'
            name = pod["metadata"].get("name") or pod["metadata"].get("generateName", "")
            raise forbidden("pods", name, why)
        self._warn(attributes, policy.warn, pod)

    def _workload(self, attributes: AdmissionAttributes, obj: Obj) -> None:
        policy = self._policy(attributes.namespace)
        if policy.warn.level == PRIVILEGED:
            return
        template = pod_template(attributes.resource, obj)
        if template is None or not template.get("spec"):
            return
        if not self._settings.exempts_pod(template["spec"]):
            self._warn(attributes, policy.warn, template)

    def _warn(self, attributes: AdmissionAttributes, standard: Standard, pod: Obj) -> None:
        findings = standard.findings(pod.get("metadata") or {}, pod["spec"])
        if findings:
            attributes.warn(f'would violate PodSecurity "{standard}": {_details(findings)}')

    def _namespace(self, attributes: AdmissionAttributes, namespace: Obj) -> None:
        if attributes.subresource:
            return
        defaults = self._settings.defaults
        labels = namespace["metadata"].get("labels") or {}
        policy, errors = policy_of(labels, defaults)
        old = attributes.old_object
        old_labels = ((old or {}).get("metadata") or {}).get("labels") or {}
        before, old_errors = policy_of(old_labels, defaults)
        name = namespace["metadata"].get("name", "")
        if errors and (old is None or errors != old_errors):
            raise invalid("Namespace", name, errors)
        exempt = name in self._settings.namespaces
        if old is None and exempt:
            self._warn_of_labels(attributes, name, policy, labels)
        if old is None or policy.enforce in (before.enforce, Standard(PRIVILEGED)):
            return
        same_version = policy.enforce.version == before.enforce.version
        if policy.enforce.level == PRIVILEGED or (
            same_version and not is_stricter(policy.enforce, before.enforce)
        ):
            return
        if exempt:
            self._warn_of_labels(attributes, name, policy, labels)
            return
        for text in self._violations(name, policy.enforce):
            attributes.warn(text)

    def _warn_of_labels(
        self, attributes: AdmissionAttributes, name: str, policy: Policy, labels: Obj
    ) -> None:
        text = self._settings.ignored_labels(name, policy, labels)
        if text:
            attributes.warn(text)

    def _violations(self, namespace: str, standard: Standard) -> list[str]:
        """Warnings about the pods that are there already, one for each kind of violation."""
        found = self._lookup.list(PODS, namespace)
        pods = _representative_first(
            [pod for pod in found if not self._settings.exempts_pod(pod["spec"])]
        )
        by_reason: dict[str, list[str]] = {}
        for pod in pods[:_MAX_PODS_CHECKED]:
            findings = standard.findings(pod["metadata"], pod["spec"])
            if findings:
                reason = ", ".join(finding.reason for finding in findings)
                by_reason.setdefault(reason, []).append(pod["metadata"]["name"])
        warnings = []
        if len(pods) > _MAX_PODS_CHECKED:
            warnings.append(
                f"new PodSecurity enforce level only checked against the first "
                f"{_MAX_PODS_CHECKED} of {len(pods)} existing pods"
            )
        if by_reason:
            warnings.append(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce '
                f'level "{standard}"'
            )
        return warnings + sorted(_counted(names) + r for r, names in by_reason.items())

    def _policy(self, namespace: str) -> Policy:
        found = self._lookup.get(NAMESPACES, namespace)
        labels = ((found or {}).get("metadata") or {}).get("labels") or {}
        return policy_of(labels, self._settings.defaults)[0]


def _details(findings: Sequence[Finding]) -> str:
    return ", ".join(f"{f.reason} ({f.detail})" if f.detail else f.reason for f in findings)


def _counted(names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return f"{names[0]}: "
    return f"{min(names)} (and {others} other {'pod' if others == 1 else 'pods'}): "


def _representative_first(pods: list[Obj]) -> list[Obj]:
    """One pod of each controller first; its siblings are most likely the same."""
    first: list[Obj] = []
    later: list[Obj] = []
    seen: set[str] = set()
    for pod in pods:
        owner = controller_of(pod)
        if owner is not None and owner.get("uid", "") in seen:
            later.append(pod)
            continue
        if owner is not None:
            seen.add(owner.get("uid", ""))
        first.append(pod)
    return first + later


def _significant(new: Obj, old: Obj) -> bool:
    """Whether an update can bring in something that was not judged: containers and images."""
    after, before = new["spec"], old["spec"]
    for group in ("containers", "initContainers"):
        images = [[c.get("image") for c in spec.get(group) or []] for spec in (after, before)]
        if images[0] != images[1]:
            return True
    known = {c["name"]: c.get("image") for c in before.get("ephemeralContainers") or []}
    return any(
        c["name"] not in known or c.get("image") != known[c["name"]]
        for c in after.get("ephemeralContainers") or []
    )
