"""PodCertificateRequests are answered by who may sign for the signer, and with a fresh certificate.

Upstream judges this while it validates the status; here it needs the authorizers and the clock.
"""

from datetime import datetime

from kybern.api.errors import Obj, field_forbidden, invalid, invalid_value
from kybern.apiserver.admission.attributes import UPDATE, AdmissionAttributes
from kybern.apiserver.admission.certificates import may_use_signer
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.component.clock import Clock

_GROUP = "certificates.k8s.io"
_FRESH_SECONDS = 300


class PodCertificateSigning(Plugin):
    name = "PodCertificateSigning"
    operations = (UPDATE,)
    resources = ((_GROUP, "podcertificaterequests"),)
    subresources = ("status",)

    def __init__(self, authorizers: Authorizers, clock: Clock) -> None:
        self._authorizers = authorizers
        self._clock = clock

    async def validate(self, attributes: AdmissionAttributes) -> None:
        old, new = attributes.old_object or {}, attributes.object or {}
        if old.get("status") == new.get("status"):
            return
        name = attributes.info.name
        begins = (new.get("status") or {}).get("notBefore")
        if begins and abs(_epoch(begins) - self._clock.time()) > _FRESH_SECONDS:
            text = "must be set to within 5 minutes of kube-apiserver's current time"
            errors = [invalid_value("status.notBefore", begins, text)]
            raise invalid("PodCertificateRequest", name, errors, _GROUP)
        signer = _signer(old)
        if not may_use_signer(self._authorizers, attributes.user, "sign", signer):
            text = f'User "{attributes.user.name}" is not permitted to "sign" for signer "{signer}"'
            errors = [field_forbidden("spec.signerName", text)]
            raise invalid("PodCertificateRequest", name, errors, _GROUP)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _signer(request: Obj) -> str:
    signer: str = request["spec"].get("signerName", "")
    return signer
