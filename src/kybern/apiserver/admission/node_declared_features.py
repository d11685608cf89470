"""NodeDeclaredFeatureValidator: a bound pod changes only in ways that its node declares to know.

Upstream infers what a change needs from a few features; these are all that an update can need.
"""

from collections.abc import Callable

from kybern.api.errors import Obj
from kybern.api.resources import NODES
from kybern.apiserver.admission.attributes import UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup


class NodeDeclaredFeatureValidator(Plugin):
    name = "NodeDeclaredFeatureValidator"
    operations = (UPDATE,)
    resources = (("", "pods"),)
    subresources = ("", "resize")

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod, old = attributes.object, attributes.old_object
        if pod is None or old is None or not pod["spec"].get("nodeName"):
            return
        if pod["metadata"].get("generation") == old["metadata"].get("generation"):
            return
        needed = [name for name, needs in _NEEDS.items() if needs(pod["spec"], old["spec"])]
        if not needed:
            return
        name = pod["spec"]["nodeName"]
        node = self._lookup.get(NODES, name)
        if node is None:
            raise attributes.forbid(f'node "{name}" not found')
        declared = (node.get("status") or {}).get("declaredFeatures") or []
        missing = [feature for feature in needed if feature not in declared]
        if missing:
            raise attributes.forbid(
                f"pod update requires features {', '.join(missing)} which are not available on "
                f'node "{name}"'
            )


def _resizes_pod(spec: Obj, old: Obj) -> bool:
    return (spec.get("resources") or {}) != (old.get("resources") or {})


def _resizes_init_container(spec: Obj, old: Obj) -> bool:
    pairs = zip(old.get("initContainers") or [], spec.get("initContainers") or [], strict=False)
    return any(
        before.get("restartPolicy") != "Always"
        and (before.get("resources") or {}) != (after.get("resources") or {})
        for before, after in pairs
    )


_NEEDS: dict[str, Callable[[Obj, Obj], bool]] = {
    "InPlacePodLevelResourcesVerticalScaling": _resizes_pod,
    "InPlacePodVerticalScalingInitContainers": _resizes_init_container,
}
