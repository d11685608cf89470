"""ServiceAccount: every pod has a service account and, unless it declines, its token mounted."""

import asyncio
from collections.abc import Iterator

from kybern.api.errors import Obj
from kybern.api.pod_references import pod_secrets
from kybern.api.resources import SERVICE_ACCOUNTS
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup
from kybern.component.clock import Clock

_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_MIRROR_POD = "kubernetes.io/config.mirror"
_ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
TOKEN_EXPIRATION_SECONDS = 3607
_PROJECTED_MODE = 0o644
# The default account of a namespace comes from a controller, a moment after the namespace.
_DEFAULT_ACCOUNT_ATTEMPTS = 10
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


class ServiceAccount(Plugin):
    name = "ServiceAccount"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"),)
    subresources = ("", "ephemeralcontainers")

    def __init__(self, lookup: Lookup, clock: Clock) -> None:
        self._lookup = lookup
        self._clock = clock

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if pod is None or attributes.operation != CREATE or attributes.subresource:
            return
        if _is_mirror(pod):
            _check_mirror(attributes, pod)
            return
        spec = pod["spec"]
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(attributes, spec["serviceAccountName"])
        if _wants_token(account, pod):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [
                {"name": secret.get("name", "")} for secret in account["imagePullSecrets"]
            ]

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if pod is None:
            return
        ephemeral = attributes.operation == UPDATE and bool(attributes.subresource)
        if not ephemeral and attributes.operation != CREATE:
            return
        if not ephemeral and _is_mirror(pod):
            _check_mirror(attributes, pod)
            return
        name = pod["spec"].get("serviceAccountName", "")
        if not name:
            pod_name = f"{attributes.namespace}/{pod['metadata'].get('name', '')}"
            raise attributes.forbid(f"no service account specified for pod {pod_name}")
        account = await self._account(attributes, name)
        annotations = account["metadata"].get("annotations") or {}
        if annotations.get(_ENFORCE_MOUNTABLE) in _TRUE:
            problem = next(_unmountable(account, pod, ephemeral), None)
            if problem:
                raise attributes.forbid(problem)

    async def _account(self, attributes: AdmissionAttributes, name: str) -> Obj:
        namespace = attributes.namespace
        attempts = _DEFAULT_ACCOUNT_ATTEMPTS if name == "default" else 1
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(0.1 + 0.1 * self._clock.random.random())
            found = self._lookup.get(SERVICE_ACCOUNTS, name, namespace)
            if found is not None:
                return found
        raise attributes.forbid(
            f'error looking up service account {namespace}/{name}: serviceaccount "{name}" '
            "not found"
        )

    def _mount_token(self, spec: Obj) -> None:
        volumes = spec.get("volumes") or []
        existing = (v["name"] for v in volumes if v.get("name", "").startswith(_VOLUME_PREFIX))
        name = next(existing, "")
        present = bool(name)
        if not present:
            letters = (self._clock.random.choice(_SUFFIX_ALPHABET) for _ in range(5))
            name = _VOLUME_PREFIX + "".join(letters)
        mounted = False
        for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == _MOUNT_PATH for mount in mounts):
                continue
            mount = {"name": name, "readOnly": True, "mountPath": _MOUNT_PATH}
            container["volumeMounts"] = [*mounts, mount]
            mounted = True
        if mounted and not present:
            spec["volumes"] = [*volumes, {"name": name, "projected": token_projection()}]


def token_projection() -> Obj:
    """The volume that holds a pod's token, the cluster's CA and the pod's namespace."""
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "sources": [
            {
                "serviceAccountToken": {
                    "expirationSeconds": TOKEN_EXPIRATION_SECONDS,
                    "path": "token",
                }
            },
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ],
        "defaultMode": _PROJECTED_MODE,
    }


def _is_mirror(pod: Obj) -> bool:
    return _MIRROR_POD in (pod["metadata"].get("annotations") or {})


def _check_mirror(attributes: AdmissionAttributes, pod: Obj) -> None:
    spec = pod["spec"]
    if spec.get("serviceAccountName"):
        raise attributes.forbid("a mirror pod may not reference service accounts")
    if next(pod_secrets(pod), None) is not None:
        raise attributes.forbid("a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            if "serviceAccountToken" in source:
                raise attributes.forbid(
                    "a mirror pod may not use ServiceAccountToken volume projections"
                )


def _wants_token(account: Obj, pod: Obj) -> bool:
    for holder in (pod["spec"], account):
        choice = holder.get("automountServiceAccountToken")
        if choice is not None:
            return bool(choice)
    return True


def _unmountable(account: Obj, pod: Obj, ephemeral: bool) -> Iterator[str]:
    """What the pod uses although the account does not list it."""
    name = account["metadata"]["name"]
    secrets = {secret.get("name") for secret in account.get("secrets") or []}
    ending = f"is not allowed because service account {name} does not reference that secret"
    spec = pod["spec"]
    if ephemeral:
        yield from _in_containers(spec, "ephemeralContainers", "ephemeral ", secrets, ending)
        return
    for volume in spec.get("volumes") or []:
        used = (volume.get("secret") or {}).get("secretName")
        if used and used not in secrets:
            yield f'volume with secret.secretName="{used}" {ending}'
    yield from _in_containers(spec, "initContainers", "init ", secrets, ending)
    yield from _in_containers(spec, "containers", "", secrets, ending)
    allowed = {secret.get("name") for secret in account.get("imagePullSecrets") or []}
    for index, secret in enumerate(spec.get("imagePullSecrets") or []):
        if secret.get("name") not in allowed:
            yield (
                f'imagePullSecrets[{index}].name="{secret.get("name", "")}" is not allowed because '
                f"service account {name} does not reference that imagePullSecret"
            )


def _in_containers(
    spec: Obj, group: str, word: str, secrets: set[str | None], ending: str
) -> Iterator[str]:
    for container in spec.get(group) or []:
        title = f"{word}container {container['name']}"
        for variable in container.get("env") or []:
            used = ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
            if used and used not in secrets:
                yield (
                    f"{title} with envVar {variable['name']} referencing "
                    f'secret.secretName="{used}" {ending}'
                )
        for source in container.get("envFrom") or []:
            used = (source.get("secretRef") or {}).get("name")
            if used and used not in secrets:
                yield f'{title} with envFrom referencing secret.secretName="{used}" {ending}'
