"""The files of configMap, secret, downwardAPI and projected volumes, as payloads.

Each source is a function from its declaration to files; a projected volume is their union. What is
missing and not optional raises :class:`VolumeError`. Trust bundles and pods' certificates are
served where their feature gates are on, by ``trust_bundles.py`` and ``pod_certificates``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kybern.api.errors import Obj
from kybern.kubelet.env import ConfigError, field_value, resource_value
from kybern.kubelet.objects import Objects, decoded
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes.atomic_files import File
from kybern.kubelet.volumes.tokens import Tokens

DEFAULT_MODE = 0o644
DEFAULT_TOKEN_SECONDS = 3600
# Upstream's words for what a kubelet does not serve.
NO_TRUST_BUNDLES = "ClusterTrustBundle projection is not supported in static kubelet mode"
NO_CERTIFICATES = "unimplemented"


class VolumeError(Exception):
    """A volume cannot be set up now; the text goes into the FailedMount event.

    ``volume`` is the persistent volume's name, where the pod's own name for it says less.
    """

    def __init__(self, text: str, volume: str = "") -> None:
        super().__init__(text)
        self.volume = volume


Files = dict[str, File]


class TrustAnchors(Protocol):
    """Where ``clusterTrustBundle`` sources come from."""

    async def anchors(self, pod: Obj, source: Obj) -> bytes:
        """The certificates (PEM) that the source selects; raises VolumeError."""
        ...

    def forget(self, uid: str) -> None:
        """The node no longer has the pod."""
        ...


class PodCredentials(Protocol):
    """Where ``podCertificate`` sources come from."""

    async def credentials(self, pod: Obj, volume: str, index: int) -> tuple[bytes, bytes]:
        """The key and the certificates (PEM) of one source of a volume; raises VolumeError."""
        ...

    def forget(self, uid: str) -> None:
        """The node no longer has the pod."""
        ...


class Payloads:
    """Builds payloads from what the API server, the pod and the node say."""

    def __init__(
        self,
        objects: Objects,
        tokens: Tokens,
        bundles: TrustAnchors | None = None,
        certificates: PodCredentials | None = None,
    ) -> None:
        self._objects = objects
        self._tokens = tokens
        self._bundles = bundles
        self._certificates = certificates

    def forget(self, uid: str) -> None:
        """The pod is gone from this node."""
        for source in (self._bundles, self._certificates):
            if source is not None:
                source.forget(uid)

    async def config_map(self, pod: Obj, source: Obj, mode: int) -> Files:
        namespace, name = pod["metadata"]["namespace"], source["name"]
        found = await self._objects.config_map(namespace, name)
        data: dict[str, bytes] = {}
        if found is None:
            if not source.get("optional"):
                raise VolumeError(f'configmap "{name}" not found')
        else:
            from_text = {key: text.encode() for key, text in (found.get("data") or {}).items()}
            data = {**from_text, **binary_data(found)}
        return _selected(data, source, mode, "config")

    async def secret(self, pod: Obj, source: Obj, mode: int) -> Files:
        # A Secret volume calls the name ``secretName``; a projected source calls it ``name``.
        name = source.get("secretName") or source.get("name") or ""
        data = await self._objects.secret_data(pod["metadata"]["namespace"], name)
        if data is None and not source.get("optional"):
            raise VolumeError(f'secret "{name}" not found')
        return _selected(data or {}, source, mode, "secret")

    async def downward(
        self, pod: Obj, source: Obj, mode: int, facts: Mapping[str, str], allocatable: Obj
    ) -> Files:
        files: Files = {}
        for item in source.get("items") or ():
            try:
                if field := item.get("fieldRef"):
                    text = field_value(pod, field["fieldPath"], facts)
                else:
                    selector = item["resourceFieldRef"]
                    container = spec.find_container(pod, selector["containerName"]) or {}
                    text = resource_value(container, selector, allocatable)
            except ConfigError as error:
                raise VolumeError(str(error)) from None
            files[item["path"]] = File(text.encode(), _mode(item, mode))
        return files

    async def token(self, pod: Obj, source: Obj, mode: int) -> Files:
        """A bound token."""
        seconds = source.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS
        token = await self._tokens.token(pod, source.get("audience") or "", seconds)
        return {source["path"]: _own_file(pod, token.encode(), mode)}

    async def trust_bundle(self, pod: Obj, source: Obj, mode: int) -> Files:
        """Certificates of authorities, in one file."""
        if self._bundles is None:
            raise VolumeError(NO_TRUST_BUNDLES)
        anchors = await self._bundles.anchors(pod, source)
        return {source["path"]: _own_file(pod, anchors, mode)}

    async def certificate(self, pod: Obj, volume: str, index: int, source: Obj, mode: int) -> Files:
        """A key with its certificates: in one file, in one each, or both."""
        if self._certificates is None:
            raise VolumeError(NO_CERTIFICATES)
        key, chain = await self._certificates.credentials(pod, volume, index)
        contents = {
            "credentialBundlePath": key + chain,
            "keyPath": key,
            "certificateChainPath": chain,
        }
        return {
            source[field]: _own_file(pod, data, mode)
            for field, data in contents.items()
            if source.get(field)
        }

    async def projected(
        self, pod: Obj, volume: Obj, facts: Mapping[str, str], allocatable: Obj
    ) -> Files:
        """All sources in order; a later one wins where paths collide."""
        declaration = volume["projected"]
        mode = default_mode(declaration)
        files: Files = {}
        for index, source in enumerate(declaration.get("sources") or ()):
            if declared := source.get("configMap"):
                files.update(await self.config_map(pod, declared, mode))
            elif declared := source.get("secret"):
                files.update(await self.secret(pod, declared, mode))
            elif declared := source.get("downwardAPI"):
                files.update(await self.downward(pod, declared, mode, facts, allocatable))
            elif declared := source.get("serviceAccountToken"):
                files.update(await self.token(pod, declared, mode))
            elif declared := source.get("clusterTrustBundle"):
                files.update(await self.trust_bundle(pod, declared, mode))
            elif declared := source.get("podCertificate"):
                found = await self.certificate(pod, volume["name"], index, declared, mode)
                files.update(found)
            elif source:
                raise VolumeError(f"projected source {', '.join(source)} is not supported")
        return files


def default_mode(volume: Obj) -> int:
    declared = volume.get("defaultMode")
    return DEFAULT_MODE if declared is None else int(declared)


def binary_data(config_map: Obj) -> dict[str, bytes]:
    """A ConfigMap's ``binaryData``, decoded."""
    return decoded({"data": config_map.get("binaryData")})


def _own_file(pod: Obj, data: bytes, mode: int) -> File:
    """A file for the pod's own user alone, where all containers share one."""
    shared = pod["spec"].get("securityContext") or {}
    users = {
        (c.get("securityContext") or {}).get("runAsUser", shared.get("runAsUser"))
        for c in spec.all_containers(pod)
    }
    if shared.get("fsGroup") is not None:
        return File(data, 0o600)
    if len(users) == 1 and (user := next(iter(users))) is not None:
        return File(data, 0o600, owner=user)
    return File(data, mode)


def _mode(item: Obj, mode: int) -> int:
    declared = item.get("mode")
    return mode if declared is None else int(declared)


def _selected(data: Mapping[str, bytes], source: Obj, mode: int, kind: str) -> Files:
    """All keys as files, or those that ``items`` names under the paths it gives."""
    items: Sequence[Any] | None = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise VolumeError(f"references non-existent {kind} key: {item['key']}")
        files[item["path"]] = File(data[item["key"]], _mode(item, mode))
    return files
