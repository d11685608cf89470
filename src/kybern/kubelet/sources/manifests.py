"""Pods from manifest files (``--pod-manifest-path``): read, completed, checked.

``manifest_url.py`` has those of a URL, which are completed and checked here, too.

Such static pods run whether or not there is an API server, so they may refer to nothing in it.
Their UID is a digest of what the file says, which makes a changed file another pod and lets a
kubelet that starts again find its own. ``static_pods.py`` runs them.
"""

import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import orjson

from kybern.api.defaults.pod_spec import default_pod
from kybern.api.errors import Obj, StatusError
from kybern.api.schema import schema_for
from kybern.api.validation.metadata import object_meta
from kybern.api.validation.names import dns_subdomain
from kybern.api.validation.pod import check_pod
from kybern.kubelet.pods import spec

logger = logging.getLogger(__name__)

MAX_MANIFEST_BYTES = 10 * 1024 * 1024
HASH_ANNOTATION = "kubernetes.io/config.hash"
SEEN_ANNOTATION = "kubernetes.io/config.seen"
_TOLERATION = {"operator": "Exists", "effect": "NoExecute"}
_LOCAL_VOLUMES = frozenset({"downwardAPI", "emptyDir", "hostPath", "image", "nfs", "iscsi", "fc"})
_REFERRED_VOLUMES = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
}
_REFERRED_SOURCES = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


class BadManifest(ValueError):
    """A file that holds no pod that may run here; the text says why."""


class Manifests:
    """The manifests below one path: a file, or a directory whose hidden files are left out.

    Without a path there are none.
    """

    def __init__(self, path: str, node_name: str) -> None:
        self._path = Path(path) if path else None
        self._node = node_name
        self._stamps: dict[Path, tuple[int, int, int]] | None = None
        self._pods: list[Obj] = []

    def read(self) -> list[Obj]:
        """The pods as the files say now; unchanged files are not read again. Blocks."""
        stamps = dict(self._files())
        if stamps != self._stamps:
            self._stamps = stamps
            self._pods = [pod for file in stamps if (pod := self._pod(file)) is not None]
        return self._pods

    def _files(self) -> Iterator[tuple[Path, tuple[int, int, int]]]:
        if self._path is None:
            return
        try:
            listed = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        except OSError as error:
            logger.warning("manifests in %s: %s", self._path, error)
            return
        for file in listed:
            try:
                found = file.stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and not file.name.startswith("."):
                yield file, (found.st_mtime_ns, found.st_size, found.st_ino)

    def _pod(self, file: Path) -> Obj | None:
        try:
            if file.stat().st_size > MAX_MANIFEST_BYTES:
                raise BadManifest(f"larger than {MAX_MANIFEST_BYTES} bytes")
            return static_pod(file.read_bytes(), os.path.abspath(file), self._node)
        except (BadManifest, StatusError, OSError) as error:
            logger.warning("manifest %s is left out: %s", file, error)
            return None


def static_pod(text: bytes, source: str, node_name: str, *, is_file: bool = True) -> Obj:
    """The pod that a manifest declares, as it runs on this node; or BadManifest, StatusError.

    ``source`` is the path of its file, or the URL that it came from.
    """
    decoded = schema_for("", "v1", "Pod").decode(text, "application/yaml").obj
    meta = decoded["metadata"] = decoded.get("metadata") or {}
    if not meta.get("name"):
        raise BadManifest("invalid pod: name is needed for the pod")
    default_pod(decoded)
    if not meta.get("uid"):
        told = orjson.dumps(decoded, option=orjson.OPT_SORT_KEYS)
        told += (f"host:{node_name}file:{source}" if is_file else f"url:{source}").encode()
        meta["uid"] = hashlib.blake2b(told, digest_size=16).hexdigest()
    meta["name"] = f"{meta['name']}-{node_name.lower()}"
    meta.setdefault("namespace", "default")
    declared = decoded["spec"]
    declared["nodeName"] = node_name
    tolerations = declared.setdefault("tolerations", [])
    if _TOLERATION not in tolerations:
        tolerations.append(dict(_TOLERATION))
    decoded["status"] = {"phase": "Pending"}
    errors = object_meta(meta, True, dns_subdomain) + check_pod(decoded)
    if errors:
        raise BadManifest(f"invalid pod: {'; '.join(str(error) for error in errors)}")
    if reference := api_reference(decoded):
        raise BadManifest(f"static pods may not reference {reference}")
    annotations = meta.setdefault("annotations", {})
    annotations[HASH_ANNOTATION] = meta["uid"]
    annotations[spec.SOURCE_ANNOTATION] = "file" if is_file else "http"
    return decoded


def api_reference(pod: Obj) -> str:
    """What the pod refers to that only an API server has, in upstream's words; or nothing."""
    declared = pod["spec"]
    if declared.get("serviceAccountName"):
        return "serviceaccounts"
    references = list(_container_references(pod))
    if declared.get("imagePullSecrets") or "secrets" in references:
        return "secrets"
    if "configmaps" in references:
        return "configmaps"
    if declared.get("resourceClaims"):
        return "resourceclaims"
    for volume in declared.get("volumes") or ():
        if reference := _volume_reference(volume):
            return reference
    return ""


def _container_references(pod: Obj) -> Iterator[str]:
    for container in spec.all_containers(pod):
        for source in container.get("envFrom") or ():
            yield "configmaps" if "configMapRef" in source else "secrets"
        for variable in container.get("env") or ():
            value = variable.get("valueFrom") or {}
            if "secretKeyRef" in value:
                yield "secrets"
            if "configMapKeyRef" in value:
                yield "configmaps"


def _volume_reference(volume: Obj) -> str:
    kinds = [kind for kind in volume if kind != "name" and kind not in _LOCAL_VOLUMES]
    if kinds == ["projected"]:
        for source in volume["projected"].get("sources") or ():
            for kind, reference in _REFERRED_SOURCES.items():
                if kind in source:
                    return reference
        return ""
    return _REFERRED_VOLUMES.get(kinds[0], kinds[0]) if kinds else ""
