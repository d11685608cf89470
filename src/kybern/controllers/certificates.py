"""CertificateSigningRequests: approves those of kubelets, signs what is approved, cleans up.

Three controllers, as upstream names them. Approval asks by SubjectAccessReview whether the
requester may have a node's client certificate; serving certificates are for people or operators to
approve. Without a CA (``--cluster-signing-cert-file``) nothing is signed.
"""

import base64
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS
from kybern.controllers import certificate_requests as requests
from kybern.controllers.controller import Context, Controller

MIN_SECONDS = 600.0
HOUR = 3600.0
DAY = 24 * HOUR


class _CertificateController(Controller):
    """Keyed by CertificateSigningRequest."""

    account = "certificate-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.requests = self.watch(CERTIFICATE_SIGNING_REQUESTS)


class CertificateApprover(_CertificateController):
    """Approves kubelets' client certificates where the requester may have them."""

    name = "certificatesigningrequest-approving-controller"

    async def reconcile(self, key: str) -> None:
        request = self.requests.get(key)
        if request is None or objects.status(request).get("certificate"):
            return
        if requests.has(request, "Approved") or requests.has(request, "Denied"):
            return
        spec = request["spec"]
        if spec["signerName"] != requests.KUBELET_CLIENT:
            return
        pkcs10 = requests.read(request)
        if requests.problem(requests.KUBELET_CLIENT, pkcs10, spec.get("usages") or ()):
            return
        for subresource, whose in (("selfnodeclient", "self kubelet"), ("nodeclient", "kubelet")):
            itself = spec.get("username") == requests.common_name(pkcs10)
            if (subresource == "nodeclient" or itself) and await self._may(spec, subresource):
                text = f"Auto approving {whose} client certificate after SubjectAccessReview."
                await self._approve(request, text)
                return

    async def _may(self, spec: Obj, subresource: str) -> bool:
        review = {
            "spec": {
                "user": spec.get("username", ""),
                "uid": spec.get("uid", ""),
                "groups": spec.get("groups") or [],
                "extra": spec.get("extra") or {},
                "resourceAttributes": {
                    "group": "certificates.k8s.io",
                    "resource": "certificatesigningrequests",
                    "verb": "create",
                    "subresource": subresource,
                    "version": "*",
                },
            }
        }
        answer = await self.client.create(SUBJECT_ACCESS_REVIEWS, review)
        return bool(objects.status(answer).get("allowed"))

    async def _approve(self, request: Obj, message: str) -> None:
        approved = objects.copy(request)
        conditions = approved.setdefault("status", {}).setdefault("conditions", [])
        approval = {"type": "Approved", "status": "True", "reason": "AutoApproved"}
        conditions.append({**approval, "message": message})
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, approved, subresource="approval")


class CertificateSigner(_CertificateController):
    """Signs approved requests of the built-in signers with the cluster's CA."""

    name = "certificatesigningrequest-signing-controller"

    async def reconcile(self, key: str) -> None:
        request = self.requests.get(key)
        config = self.context.config
        if request is None or not config.cluster_signing_cert_file:
            return
        signer = request["spec"]["signerName"]
        if signer not in requests.SIGNERS or objects.status(request).get("certificate"):
            return
        if not requests.has(request, "Approved") or requests.has(request, "Failed"):
            return
        pkcs10 = requests.read(request)
        usages = request["spec"].get("usages") or []
        changed = objects.copy(request)
        problem = requests.problem(signer, pkcs10, usages)
        if problem:
            failure = {"type": "Failed", "status": "True", "reason": "SignerValidationFailure"}
            failure |= {"message": problem, "lastUpdateTime": self.clock.timestamp()}
            changed["status"].setdefault("conditions", []).append(failure)
        else:
            life = self._life(request["spec"].get("expirationSeconds"))
            signed = self._authority().sign(pkcs10, usages, life, self.clock.now())
            changed["status"]["certificate"] = base64.b64encode(signed).decode()
        await self.client.update_status(CERTIFICATE_SIGNING_REQUESTS, changed)

    def _authority(self) -> requests.Authority:
        """Read anew each time, so that a CA that was replaced on disk signs from then on."""
        config = self.context.config
        return requests.Authority(
            Path(config.cluster_signing_cert_file).read_bytes(),
            Path(config.cluster_signing_key_file).read_bytes(),
        )

    def _life(self, wanted: int | None) -> timedelta:
        most = self.context.config.cluster_signing_duration
        seconds = most if wanted is None else min(max(wanted, MIN_SECONDS), most)
        return timedelta(seconds=seconds)


class CertificateCleaner(_CertificateController):
    """Deletes requests that are settled for an hour, or that nobody settles for a day."""

    name = "certificatesigningrequest-cleaner-controller"

    async def reconcile(self, key: str) -> float | None:
        request = self.requests.get(key)
        if request is None:
            return None
        left = self._end(request) - self.clock.time()
        if left >= 0:
            return left + 1
        try:
            await self.client.delete(CERTIFICATE_SIGNING_REQUESTS, key, uid=objects.uid(request))
        except StatusError as error:
            if error.code != 404:
                raise
        return None

    def _end(self, request: Obj) -> float:
        """When the request may go."""
        created = objects.epoch(request["metadata"]["creationTimestamp"])
        certificate = objects.status(request).get("certificate")
        ends: list[float] = []
        for one in objects.conditions(request):
            settled = objects.epoch(one["lastUpdateTime"]) if one.get("lastUpdateTime") else created
            patience = DAY if one["type"] == "Approved" and not certificate else HOUR
            ends.append(settled + patience)
        if certificate:
            issued = x509.load_pem_x509_certificate(base64.b64decode(certificate))
            ends.append(issued.not_valid_after_utc.timestamp())
        return min(ends, default=created + DAY)
