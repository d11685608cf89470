"""DefaultTolerationSeconds: pods stay for a while on a node that is not ready or unreachable."""

from kybern.api.errors import Obj
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin

_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"


class DefaultTolerationSeconds(Plugin):
    name = "DefaultTolerationSeconds"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"),)

    def __init__(self, not_ready_seconds: int = 300, unreachable_seconds: int = 300) -> None:
        self._seconds = {_NOT_READY: not_ready_seconds, _UNREACHABLE: unreachable_seconds}

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None:
            return
        spec = attributes.object["spec"]
        tolerations: list[Obj] = spec.get("tolerations") or []
        missing = [
            {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": seconds,
            }
            for key, seconds in self._seconds.items()
            if not any(_concerns(toleration, key) for toleration in tolerations)
        ]
        if missing:
            spec["tolerations"] = [*tolerations, *missing]


def _concerns(toleration: Obj, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in (
        "",
        "NoExecute",
    )
