"""PodResizeValidator: a bound pod is resized only to what its node could hold at all."""

from kybern.api.errors import Obj, StatusError
from kybern.api.pod_resources import amounts, pod_requests
from kybern.api.quantity import Quantity
from kybern.api.resources import NODES
from kybern.apiserver.admission.attributes import UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_OS = "kubernetes.io/os"


class PodResizeValidator(Plugin):
    name = "PodResizeValidator"
    operations = (UPDATE,)
    resources = (("", "pods"),)
    subresources = ("resize",)

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod, old = attributes.object, attributes.old_object
        if pod is None or old is None or not pod["spec"].get("nodeName"):
            return
        if pod["metadata"].get("generation") == old["metadata"].get("generation"):
            return
        name = pod["spec"]["nodeName"]
        node = self._lookup.get(NODES, name)
        if node is None:
            raise attributes.forbid(f'node "{name}" not found')
        system = (node["metadata"].get("labels") or {}).get(_OS, "linux")
        if system != "linux":
            why = f'pod resize is only supported on linux nodes, node "{name}" is "{system}"'
            raise _caused(attributes.forbid(why), "UnsupportedPlatform")
        lacking = _lacking(pod, node)
        if lacking:
            why = f"node didn't have enough allocatable resources: {'; '.join(lacking)}"
            raise _caused(attributes.forbid(why), "NodeCapacity")


def _lacking(pod: Obj, node: Obj) -> list[str]:
    allocatable = amounts((node.get("status") or {}).get("allocatable"))
    requests = pod_requests(pod)
    nothing = Quantity.parse("0")
    texts = []
    for name in ("cpu", "memory"):
        wanted, there = requests.get(name, nothing), allocatable.get(name, nothing)
        if wanted > there:
            shown = [q.milli() if name == "cpu" else q.value() for q in (wanted, there)]
            texts.append(f"{name}, requested: {shown[0]}, allocatable: {shown[1]}")
    return texts


def _caused(error: StatusError, reason: str) -> StatusError:
    error.details = {**(error.details or {}), "causes": [{"reason": reason}]}
    return error
