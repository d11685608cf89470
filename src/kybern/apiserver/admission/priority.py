"""Priority: a pod's priority is its class's value, and there is one default class at most."""

from kybern.api.errors import Obj
from kybern.api.resources import PRIORITY_CLASSES
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup


class Priority(Plugin):
    name = "Priority"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"), ("scheduling.k8s.io", "priorityclasses"))

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if attributes.resource != "pods" or pod is None:
            return
        if attributes.operation == UPDATE:
            _keep(pod, attributes.old_object)
            return
        spec = pod["spec"]
        name, value, policy = self._established(attributes, spec.get("priorityClassName", ""))
        if name:
            spec["priorityClassName"] = name
        given = spec.get("priority")
        if given is not None and given != value:
            raise attributes.forbid(
                f"the integer value of priority ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
        spec["priority"] = value
        if policy is None:
            return
        given = spec.get("preemptionPolicy")
        if given is not None and given != policy:
            raise attributes.forbid(
                f"the string value of PreemptionPolicy ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name"
            )
        spec["preemptionPolicy"] = policy

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.resource != "priorityclasses" or attributes.object is None:
            return
        if not attributes.object.get("globalDefault"):
            return
        default = self._default()
        if default is None:
            return
        name = default["metadata"]["name"]
        if attributes.operation == CREATE or name != attributes.object["metadata"]["name"]:
            raise attributes.forbid(
                f"PriorityClass {name} is already marked as default. Only one default can exist"
            )

    def _established(
        self, attributes: AdmissionAttributes, name: str
    ) -> tuple[str, int, str | None]:
        if name:
            found = self._lookup.get(PRIORITY_CLASSES, name)
            if found is None:
                raise attributes.forbid(f"no PriorityClass with name {name} was found")
        else:
            found = self._default()
            if found is None:
                return "", 0, "PreemptLowerPriority"
        return found["metadata"]["name"], found.get("value", 0), found.get("preemptionPolicy")

    def _default(self) -> Obj | None:
        classes = [c for c in self._lookup.list(PRIORITY_CLASSES) if c.get("globalDefault")]
        return min(classes, key=lambda found: found.get("value", 0), default=None)


def _keep(pod: Obj, old: Obj | None) -> None:
    """An update that leaves the computed fields out does not mean to clear them."""
    old_spec = (old or {}).get("spec") or {}
    for field in ("priority", "preemptionPolicy"):
        if pod["spec"].get(field) is None and old_spec.get(field) is not None:
            pod["spec"][field] = old_spec[field]
