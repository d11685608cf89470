"""AlwaysPullImages: every container's image is pulled anew, so that credentials are checked."""

from collections.abc import Iterator

from kybern.api.errors import Obj
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin

_GROUPS = ("initContainers", "containers", "ephemeralContainers")


class AlwaysPullImages(Plugin):
    name = "AlwaysPullImages"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"),)

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if pod is None or not _brings_images(pod, attributes.old_object):
            return
        for _, container in _containers(pod):
            container["imagePullPolicy"] = "Always"
        for volume in pod["spec"].get("volumes") or []:
            if "image" in volume:
                volume["image"]["pullPolicy"] = "Always"

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if pod is None or not _brings_images(pod, attributes.old_object):
            return
        for where, container in _containers(pod):
            policy = container.get("imagePullPolicy", "")
            if policy != "Always":
                raise attributes.forbid(
                    f'{where}.imagePullPolicy: Unsupported value: "{policy}": '
                    'supported values: "Always"'
                )


def _brings_images(pod: Obj, old: Obj | None) -> bool:
    known = {container.get("image") for _, container in _containers(old)} if old else set()
    return old is None or any(c.get("image") not in known for _, c in _containers(pod))


def _containers(pod: Obj) -> Iterator[tuple[str, Obj]]:
    for group in _GROUPS:
        for index, container in enumerate(pod["spec"].get(group) or []):
            yield f"spec.{group}[{index}]", container
