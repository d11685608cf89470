"""Publishes the CA of the API server as a ClusterTrustBundle of its signer.

Runs where the API server serves ClusterTrustBundles, which takes ``--runtime-config`` and the
feature gate of that name. The bundle's name carries the hash of its content; bundles of other
content are removed once the present one is there.
"""

import hashlib
from pathlib import Path

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CLUSTER_TRUST_BUNDLES
from kybern.controllers.controller import Context, Controller

SIGNER = "kubernetes.io/kube-apiserver-serving"
_PREFIX = SIGNER.replace("/", ":") + ":"


class ClusterTrustBundlePublisher(Controller):
    """Has a single key, because there is one CA."""

    name = "kube-apiserver-serving-clustertrustbundle-publisher-controller"
    account = "kube-apiserver-serving-clustertrustbundle-publisher"
    needs = CLUSTER_TRUST_BUNDLES
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        file = context.config.root_ca_file
        self.bundle = Path(file).read_text() if file else ""
        digest = hashlib.sha256(self.bundle.encode()).hexdigest()
        self.bundle_name = _PREFIX + digest[:24]
        self.bundles = self.watch(CLUSTER_TRUST_BUNDLES, _key_of_signer)
        self.queue.add(SIGNER)

    async def reconcile(self, key: str) -> None:
        if not self.bundle:
            return
        current = self.bundles.get(self.bundle_name)
        if current is None:
            await self._create()
        elif current["spec"].get("trustBundle") != self.bundle:
            spec = {**current["spec"], "trustBundle": self.bundle}
            await self.client.update(CLUSTER_TRUST_BUNDLES, {**current, "spec": spec})
        for found in self.bundles.list():
            name = found["metadata"]["name"]
            if found["spec"].get("signerName") == SIGNER and name != self.bundle_name:
                await self.client.delete(CLUSTER_TRUST_BUNDLES, name)

    async def _create(self) -> None:
        spec = {"signerName": SIGNER, "trustBundle": self.bundle}
        bundle = {"metadata": {"name": self.bundle_name}, "spec": spec}
        try:
            await self.client.create(CLUSTER_TRUST_BUNDLES, bundle)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise


def _key_of_signer(bundle: Obj) -> tuple[str, ...]:
    return (SIGNER,) if bundle["spec"].get("signerName") == SIGNER else ()
