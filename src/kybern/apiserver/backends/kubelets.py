"""Where a node's kubelet answers, and how to be trusted there."""

import ssl
from dataclasses import dataclass
from urllib.parse import quote

from kybern.api.errors import Obj, StatusError
from kybern.apiserver.backends.exchange import Target

KUBELET_PORT = 10250
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")


@dataclass(frozen=True)
class Kubelets:
    """Makes targets on the kubelets of nodes, from the server's flags of the same names.

    File names may be empty: then no certificate is shown, and any kubelet is trusted.
    """

    kubelet_client_certificate: str = ""
    kubelet_client_key: str = ""
    kubelet_certificate_authority: str = ""

    def target(self, node: Obj, path: str, query: str = "") -> Target:
        """``path`` is plain text, ``query`` encoded; raises StatusError 500 without address."""
        status = node.get("status") or {}
        endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
        port = endpoint.get("Port") or KUBELET_PORT
        encoded = quote(path, safe="/:@!$&'()*+,;=~-._")
        full = f"{encoded}?{query}" if query else encoded
        return Target(_address(status), port, full, self.tls())

    def tls(self) -> ssl.SSLContext:
        """A context of the files as they are now, because certificates are renewed on disk."""
        if self.kubelet_certificate_authority:
            context = ssl.create_default_context(cafile=self.kubelet_certificate_authority)
        else:
            # Upstream trusts any kubelet, too, where no authority is configured.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.kubelet_client_certificate:
            context.load_cert_chain(self.kubelet_client_certificate, self.kubelet_client_key)
        return context


def _address(status: Obj) -> str:
    found = {entry.get("type"): entry.get("address") for entry in status.get("addresses") or ()}
    for kind in ADDRESS_TYPES:
        if found.get(kind):
            address: str = found[kind]
            return address
    known = [f"{kind}: {address}" for kind, address in found.items()]
    raise StatusError(
        500, "", f"no preferred addresses found; known addresses: [{', '.join(known)}]"
    )
