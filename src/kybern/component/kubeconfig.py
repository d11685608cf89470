"""Kubeconfig files: where an API server is, how to trust it and who one is to it.

``load_access`` reads what a client needs, ``write_kubeconfig`` writes what ``kybern up`` and the
API server leave behind for people and components. The format is client-go's ``v1 Config``.
"""

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Access:
    """A server's URL, its CA (PEM) and credentials: a client certificate, a token, or none."""

    server: str
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: str = ""
    insecure: bool = False
    namespace: str = "default"

    def ssl_context(self) -> ssl.SSLContext | None:
        """A context that trusts ``ca`` alone (the system's CAs if empty); None for http URLs."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            _load_pair(context, self.certificate, self.key)
        return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """ssl reads pairs from files only, so they pass through one that nobody else can read."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def load_access(path: str | os.PathLike[str], context: str = "") -> Access:
    """Read a kubeconfig's current or named context; raises OSError, ValueError with the reason."""
    base = Path(path)
    try:
        document = yaml.safe_load(base.read_bytes()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not a kubeconfig: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: not a kubeconfig")
    chosen = context or document.get("current-context", "")
    names = _named(document, "contexts", "context", chosen, path)
    cluster = _named(document, "clusters", "cluster", names.get("cluster", ""), path)
    user = _named(document, "users", "user", names.get("user", ""), path)
    return Access(
        server=cluster["server"].rstrip("/"),
        ca=_material(cluster, "certificate-authority", base),
        certificate=_material(user, "client-certificate", base),
        key=_material(user, "client-key", base),
        token=user.get("token", ""),
        token_file=str(base.parent / user["tokenFile"]) if "tokenFile" in user else "",
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=names.get("namespace", "default"),
    )


def _named(
    document: dict[str, Any], plural: str, singular: str, name: str, path: str | os.PathLike[str]
) -> dict[str, Any]:
    for entry in document.get(plural) or []:
        if entry.get("name") == name:
            return entry.get(singular) or {}
    raise ValueError(f'{path}: no {singular} named "{name}"')


def _material(entry: dict[str, Any], field: str, base: Path) -> bytes:
    data = entry.get(f"{field}-data")
    if data:
        return base64.b64decode(data)
    file = entry.get(field)
    return (base.parent / file).read_bytes() if file else b""


def in_cluster_access() -> Access:
    """What a pod finds mounted and in its environment; raises ValueError outside a cluster."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    port = os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ValueError("not in a cluster: KUBERNETES_SERVICE_HOST and _PORT are not set")
    directory = Path(SERVICE_ACCOUNT_DIRECTORY)
    address = f"[{host}]" if ":" in host else host
    return Access(
        server=f"https://{address}:{port}",
        ca=(directory / "ca.crt").read_bytes(),
        token_file=str(directory / "token"),
        namespace=(directory / "namespace").read_text().strip(),
    )


def write_kubeconfig(
    path: Path,
    access: Access,
    *,
    user: str = "kubernetes-admin",
    cluster: str = "kybern",
    certificate_file: Path | None = None,
) -> None:
    """Write a kubeconfig, readable by its owner only, replacing it atomically.

    It holds all that it needs, or names a file of a client certificate and its key that others
    keep.
    """
    context = f"{user}@{cluster}"
    credentials: dict[str, str] = {}
    if certificate_file is not None:
        credentials["client-certificate"] = credentials["client-key"] = str(certificate_file)
    elif access.certificate:
        credentials["client-certificate-data"] = base64.b64encode(access.certificate).decode()
        credentials["client-key-data"] = base64.b64encode(access.key).decode()
    if access.token:
        credentials["token"] = access.token
    served: dict[str, Any] = {"server": access.server}
    if access.insecure:
        served["insecure-skip-tls-verify"] = True
    if access.ca:
        served["certificate-authority-data"] = base64.b64encode(access.ca).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": served}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
        "users": [{"name": user, "user": credentials}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump(document, file, sort_keys=False)
    partial.replace(path)
