"""PodTolerationRestriction: a namespace decides which taints its pods tolerate, and may.

Annotations of the namespace carry both lists as JSON; the plugin's configuration stands in for a
namespace that says nothing.
"""

import json

from kybern.api.errors import Obj, StatusError, internal_error, not_found
from kybern.api.kinds.core.pod_qos import qos_class
from kybern.api.resources import NAMESPACES
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
_WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_MEMORY_PRESSURE = {
    "key": "node.kubernetes.io/memory-pressure",
    "operator": "Exists",
    "effect": "NoSchedule",
}


class PodTolerationRestriction(Plugin):
    """``configuration`` is upstream's, of podtolerationrestriction.admission.k8s.io."""

    name = "PodTolerationRestriction"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"),)

    def __init__(self, configuration: Obj, lookup: Lookup) -> None:
        self._configuration = configuration
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if pod is None:
            return
        extra: list[Obj] = []
        if attributes.operation == CREATE:
            own = self._listed(attributes.namespace, _DEFAULTS)
            extra += self._configuration.get("default") or [] if own is None else own
        if qos_class(pod) != "BestEffort":
            extra.append(dict(_MEMORY_PRESSURE))
        if extra:
            pod["spec"]["tolerations"] = _merged([*(pod["spec"].get("tolerations") or []), *extra])
        await self.validate(attributes)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        tolerations = ((attributes.object or {}).get("spec") or {}).get("tolerations") or []
        if not tolerations:
            return
        scope, allowed = "namespace", self._listed(attributes.namespace, _WHITELIST)
        if allowed is None:
            scope, allowed = "cluster", self._configuration.get("whitelist") or []
        if allowed and not all(any(_covers(a, t) for a in allowed) for t in tolerations):
            # Upstream's error has no reason, and so neither a better code.
            raise StatusError(
                500,
                "",
                "pod tolerations (possibly merged with namespace default tolerations) conflict "
                f"with its {scope} whitelist",
            )

    def _listed(self, namespace: str, annotation: str) -> list[Obj] | None:
        """The tolerations of an annotation; None where the namespace has none."""
        found = self._lookup.get(NAMESPACES, namespace)
        if found is None:
            raise not_found("namespaces", namespace)
        text = (found["metadata"].get("annotations") or {}).get(annotation)
        if not text:
            return None if text is None else []
        try:
            listed: list[Obj] = json.loads(text)
        except json.JSONDecodeError as problem:
            raise internal_error(f"{annotation}: {problem}") from None
        return listed


def _merged(tolerations: list[Obj]) -> list[Obj]:
    """Each toleration that no other one covers, once."""
    kept: list[Obj] = []
    for index, toleration in enumerate(tolerations):
        later = (other for other in tolerations[index + 1 :] if other != toleration)
        if not any(_covers(other, toleration) for other in (*kept, *later)):
            kept.append(toleration)
    return kept


def _covers(wide: Obj, narrow: Obj) -> bool:
    """Whether one toleration tolerates all that the other does."""
    if wide == narrow:
        return True
    everything = not wide.get("key") and wide.get("operator") == "Exists"
    if wide.get("key", "") != narrow.get("key", "") and not everything:
        return False
    if wide.get("effect") and wide.get("effect") != narrow.get("effect", ""):
        return False
    seconds = wide.get("tolerationSeconds")
    if wide.get("effect") == "NoExecute" and seconds is not None:
        given = narrow.get("tolerationSeconds")
        if given is None or given > seconds:
            return False
    if wide.get("operator") == "Exists":
        return True
    return narrow.get("operator") == "Equal" and wide.get("value", "") == narrow.get("value", "")
