"""Publishes the cluster's CA as the ConfigMap ``kube-root-ca.crt`` in every namespace.

Pods mount it beside their service account token to trust the API server.
"""

from pathlib import Path

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS, NAMESPACES
from kybern.controllers.controller import Context, Controller

CONFIG_MAP = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


class RootCaPublisher(Controller):
    """Keyed by namespace name."""

    name = "root-ca-certificate-publisher-controller"
    account = "root-ca-cert-publisher"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.watch(NAMESPACES)
        self.config_maps = self.watch(CONFIG_MAPS, _namespace_of_bundle)
        file = context.config.root_ca_file
        self.bundle = Path(file).read_text() if file else ""

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return
        wanted = {"ca.crt": self.bundle}
        current = self.config_maps.get(f"{key}/{CONFIG_MAP}")
        if current is not None and current.get("data") == wanted:
            return
        meta = {
            "name": CONFIG_MAP,
            "namespace": key,
            "annotations": {"kubernetes.io/description": DESCRIPTION},
        }
        if current is not None:
            await self.client.update(CONFIG_MAPS, {**current, "data": wanted})
            return
        try:
            await self.client.create(CONFIG_MAPS, {"metadata": meta, "data": wanted})
        except StatusError as error:
            if error.reason != "NotFound":
                raise


def _namespace_of_bundle(obj: Obj) -> tuple[str, ...]:
    meta = obj["metadata"]
    return (meta["namespace"],) if meta["name"] == CONFIG_MAP else ()
