"""The secrets and config maps that a pod refers to, wherever it does.

The Node authorizer lets a node read what its pods name here; admission and the cleaner of old
tokens ask, too.
"""

from collections.abc import Iterator

from kybern.api.errors import Obj

# Volume fields that name a secret in the pod's namespace: by its name, or by a reference.
_SECRET_FIELDS = {
    "azureFile": "secretName",
    "secret": "secretName",
}
SECRET_REF_FIELDS = {
    "cephfs": "secretRef",
    "flexVolume": "secretRef",
    "iscsi": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "storageos": "secretRef",
    "csi": "nodePublishSecretRef",
}


def containers(pod: Obj) -> Iterator[Obj]:
    """Every container of a pod: init, regular and ephemeral."""
    spec = pod["spec"]
    for group in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(group) or []


def pod_secrets(pod: Obj) -> Iterator[str]:
    """The names of the secrets that a pod uses."""
    spec = pod["spec"]
    for reference in spec.get("imagePullSecrets") or []:
        if reference.get("name"):
            yield reference["name"]
    yield from _environment(pod, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes") or []:
        for kind, field in _SECRET_FIELDS.items():
            if (volume.get(kind) or {}).get(field):
                yield volume[kind][field]
        for kind, field in SECRET_REF_FIELDS.items():
            name = ((volume.get(kind) or {}).get(field) or {}).get("name")
            if name:
                yield name
        yield from _projected(volume, "secret")


def pod_config_maps(pod: Obj) -> Iterator[str]:
    """The names of the config maps that a pod uses."""
    yield from _environment(pod, "configMapRef", "configMapKeyRef")
    for volume in pod["spec"].get("volumes") or []:
        if (volume.get("configMap") or {}).get("name"):
            yield volume["configMap"]["name"]
        yield from _projected(volume, "configMap")


def _environment(pod: Obj, whole: str, key: str) -> Iterator[str]:
    for container in containers(pod):
        for source in container.get("envFrom") or []:
            if (source.get(whole) or {}).get("name"):
                yield source[whole]["name"]
        for variable in container.get("env") or []:
            name = ((variable.get("valueFrom") or {}).get(key) or {}).get("name")
            if name:
                yield name


def _projected(volume: Obj, kind: str) -> Iterator[str]:
    for source in (volume.get("projected") or {}).get("sources") or []:
        if (source.get(kind) or {}).get("name"):
            yield source[kind]["name"]
