"""What roles get where a feature gate is on, and who is bound to the roles that it brings."""

from kybern.api.errors import Obj
from kybern.apiserver.authorization.bootstrap_policy.rules import allow

_GROUP = "certificates.k8s.io"

# Feature gate to cluster role to rules; roles that are not there yet are made of these.
GATED_RULES: dict[str, dict[str, list[Obj]]] = {
    "ClusterTrustBundle": {
        "system:cluster-trust-bundle-discovery": [
            allow("get list watch", _GROUP, "clustertrustbundles")
        ],
        "system:controller:kube-apiserver-serving-clustertrustbundle-publisher": [
            allow("attest", _GROUP, "signers", "kubernetes.io/kube-apiserver-serving"),
            allow("create delete list update watch", _GROUP, "clustertrustbundles"),
            allow("create patch update", "core events.k8s.io", "events"),
        ],
        "system:node": [allow("get list watch", _GROUP, "clustertrustbundles")],
    },
    "PodCertificateRequest": {
        "system:controller:podcertificaterequestcleaner": [
            allow("delete get list watch", _GROUP, "podcertificaterequests")
        ],
        "system:node": [allow("create get list watch", _GROUP, "podcertificaterequests")],
    },
}
GATED_BINDINGS: dict[str, dict[str, list[str]]] = {
    "ClusterTrustBundle": {
        "system:cluster-trust-bundle-discovery": ["group:system:serviceaccounts"],
        "system:controller:kube-apiserver-serving-clustertrustbundle-publisher": [
            "sa:kube-apiserver-serving-clustertrustbundle-publisher"
        ],
    },
    "PodCertificateRequest": {
        "system:controller:podcertificaterequestcleaner": ["sa:podcertificaterequestcleaner"],
    },
}
