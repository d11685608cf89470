"""Asking the API server for one of a node's certificates, and waiting until it is signed.

The request's name is made from all that it asks for, key included, so a kubelet that asks again
with the same key finds the request that is there; unless it asks as somebody else by now, whom the
approver may judge differently.
"""

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CERTIFICATE_SIGNING_REQUESTS
from kybern.client.client import Client
from kybern.component import pki

logger = logging.getLogger(__name__)

GROUP = "system:nodes"
# Between two watches of a request that is not answered yet.
PAUSE_SECONDS = 1.0


class RequestRefused(Exception):
    """The request will never be signed; the text says why."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a certificate is for: who signs it, and what its key may be used for."""

    signer: str
    usages: tuple[str, ...]


CLIENT = Purpose(
    "kubernetes.io/kube-apiserver-client-kubelet", ("digital signature", "client auth")
)
SERVING = Purpose("kubernetes.io/kubelet-serving", ("digital signature", "server auth"))


@dataclass(frozen=True, slots=True)
class Template:
    """Whom a certificate is to name: the node, and for serving its host names and addresses."""

    node: str
    hosts: tuple[str, ...] = ()

    @property
    def common_name(self) -> str:
        return f"system:node:{self.node}"

    def satisfied_by(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate names all of it; what it names besides does no harm."""
        names = _values(certificate.subject, NameOID.COMMON_NAME)
        groups = _values(certificate.subject, NameOID.ORGANIZATION_NAME)
        hosts = pki.certificate_hosts(certificate)
        return self.common_name in names and GROUP in groups and set(self.hosts) <= set(hosts)


async def ask(
    client: Client,
    purpose: Purpose,
    template: Template,
    key: ec.EllipticCurvePrivateKey,
    *,
    known: bool,
) -> bytes:
    """The signed certificate (PEM), however long that takes; ``known``: the node itself asks.

    Raises RequestRefused, and StatusError or ApiUnreachable like any call; then asking again with
    the same key goes on with the same request.
    """
    name = request_name(purpose, template, key, known)
    body = {
        "apiVersion": CERTIFICATE_SIGNING_REQUESTS.api_version,
        "kind": CERTIFICATE_SIGNING_REQUESTS.kind,
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(_pkcs10(template, key)).decode(),
            "signerName": purpose.signer,
            "usages": list(purpose.usages),
        },
    }
    try:
        made = await client.create(CERTIFICATE_SIGNING_REQUESTS, body)
        logger.info("certificate signing request %s created", name)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
        made = await client.get(CERTIFICATE_SIGNING_REQUESTS, name)
        logger.info("certificate signing request %s is there already", name)
    return await _signed(client, made)


def request_name(
    purpose: Purpose, template: Template, key: ec.EllipticCurvePrivateKey, known: bool
) -> str:
    """One name for one content; every part ends in a sign that no part holds."""
    public = pki.public_pem(key.public_key()).decode()
    digest = hashlib.sha256()
    for part in (public, template.common_name, GROUP, *template.hosts, *purpose.usages):
        digest.update(base64.urlsafe_b64encode(part.encode()) + b"|")
    prefix = "csr-" if known else "node-csr-"
    return prefix + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


async def _signed(client: Client, request: Obj) -> bytes:
    """Follow the request until it is signed or refused."""
    meta = request["metadata"]
    name, uid = meta["name"], meta["uid"]
    while True:
        current = await client.get(CERTIFICATE_SIGNING_REQUESTS, name)
        if certificate := _verdict(current, uid):
            return certificate
        watch = client.watch(
            CERTIFICATE_SIGNING_REQUESTS,
            field_selector=f"metadata.name={name}",
            resource_version=current["metadata"]["resourceVersion"],
        )
        async with contextlib.aclosing(watch) as events:
            async for event in events:
                if event["type"] == "DELETED":
                    raise RequestRefused(f"certificate signing request {name} was deleted")
                if event["type"] == "BOOKMARK":
                    continue
                if certificate := _verdict(event["object"], uid):
                    return certificate
        await asyncio.sleep(PAUSE_SECONDS)


def _verdict(request: Obj, uid: str) -> bytes:
    """The certificate, or nothing yet; raises RequestRefused."""
    name = request["metadata"]["name"]
    if request["metadata"]["uid"] != uid:
        raise RequestRefused(f"certificate signing request {name} is another one by now")
    for type_, words in (("Denied", "denied"), ("Failed", "failed")):
        condition = objects.condition(request, type_)
        if condition is not None and condition.get("status") != "False":
            reason, message = condition.get("reason", ""), condition.get("message", "")
            raise RequestRefused(
                f"certificate signing request {name} is {words}, "
                f"reason: {reason}, message: {message}"
            )
    # Signed but not approved does not exist; the API server keeps that order.
    return base64.b64decode(objects.status(request).get("certificate") or "")


def _pkcs10(template: Template, key: ec.EllipticCurvePrivateKey) -> bytes:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, GROUP),
        x509.NameAttribute(NameOID.COMMON_NAME, template.common_name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if template.hosts:
        names = x509.SubjectAlternativeName(_alternative_names(template.hosts))
        builder = builder.add_extension(names, False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _alternative_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]
