"""Serves the objects that pods refer to from the API server.

Reads are shared for a moment, so that a hundred pods that start together ask once. While the API
server is away the last known answer holds, so that containers can be started again all the same.
How ConfigMaps and Secrets are kept up to date is the node's setting, as upstream has it: watched
(``watches.py``), read again when what is known is a minute old, or read each time.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from kybern.api.errors import Obj, StatusError, service_unavailable
from kybern.api.resources import (
    CONFIG_MAPS,
    CSI_DRIVERS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    RESOURCE_CLAIMS,
    RUNTIME_CLASSES,
    SECRETS,
    SERVICE_ACCOUNTS,
    VOLUME_ATTACHMENTS,
    Resource,
)
from kybern.client.client import Client
from kybern.client.informer import Informer
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock, parse_rfc3339
from kybern.kubelet.images.credentials import PullSecret
from kybern.kubelet.objects import decoded
from kybern.kubelet.pods import spec
from kybern.kubelet.sources.watches import Key, Watches, references

FRESH_SECONDS = 0.5
CACHE_SECONDS = 60.0
CACHE_ANNOTATION = "node.alpha.kubernetes.io/ttl"
MAX_KEPT = 2048
WATCH, CACHE, GET = "Watch", "Cache", "Get"


@dataclass(frozen=True, slots=True)
class _Answer:
    obj: Obj | None
    read: float


class ApiObjects:
    """``Objects`` over a client, and over an informer of services.

    ``strategy`` is how ConfigMaps and Secrets are followed; ``node`` tells the Node as it is, whose
    annotation may say how old they may be where they are cached.
    """

    def __init__(
        self,
        client: Client,
        services: Informer,
        clock: Clock,
        strategy: str = WATCH,
        node: Callable[[], Obj] = dict,
    ) -> None:
        self._client = client
        self._services = services
        self._clock = clock
        self._strategy = strategy
        self._node = node
        self._kept: OrderedDict[Key, _Answer] = OrderedDict()
        self.watches = Watches(client, clock)

    def follow(self, pod: Obj) -> None:
        self.watches.follow(pod)
        if self._strategy != CACHE:
            return
        for key in references(pod):
            # A pod that is new or changed must not go by what was true a minute ago.
            if kept := self._kept.get(key):
                self._kept[key] = _Answer(kept.obj, -inf)

    def forget(self, uid: str) -> None:
        self.watches.forget(uid)

    async def config_map(self, namespace: str, name: str) -> Obj | None:
        return await self._followed(CONFIG_MAPS, namespace, name)

    async def secret_data(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        secret = await self._followed(SECRETS, namespace, name)
        return None if secret is None else decoded(secret)

    async def claim(self, namespace: str, name: str) -> Obj | None:
        return await self._get(PERSISTENT_VOLUME_CLAIMS, namespace, name)

    async def resource_claim(self, namespace: str, name: str) -> Obj | None:
        return await self._get(RESOURCE_CLAIMS, namespace, name, fresh=True)

    async def persistent_volume(self, name: str) -> Obj | None:
        return await self._get(PERSISTENT_VOLUMES, "", name)

    async def write_claim_status(self, claim: Obj) -> None:
        meta = claim["metadata"]
        self._kept.pop((PERSISTENT_VOLUME_CLAIMS, meta["namespace"], meta["name"]), None)
        try:
            await self._client.update_status(PERSISTENT_VOLUME_CLAIMS, claim)
        except ApiUnreachable as error:
            raise service_unavailable(str(error)) from None

    async def csi_driver(self, name: str) -> Obj | None:
        return await self._get(CSI_DRIVERS, "", name)

    async def volume_attachment(self, name: str) -> Obj | None:
        return await self._get(VOLUME_ATTACHMENTS, "", name, fresh=True)

    async def volumes_attached(self, node: str) -> list[str]:
        found = await self._get(NODES, "", node, fresh=True) or {}
        attached = (found.get("status") or {}).get("volumesAttached") or ()
        return [entry["name"] for entry in attached]

    async def write_volumes_in_use(self, node: str, names: Sequence[str]) -> None:
        patch = {"status": {"volumesInUse": list(names)}}
        try:
            await self._client.patch(NODES, node, patch, subresource="status")
        except ApiUnreachable as error:
            raise service_unavailable(str(error)) from None

    async def service_account(self, namespace: str, name: str) -> Obj | None:
        return await self._get(SERVICE_ACCOUNTS, namespace, name)

    async def runtime_handler(self, runtime_class: str) -> str:
        found = await self._get(RUNTIME_CLASSES, "", runtime_class)
        if found is None:
            raise StatusError(404, "NotFound", f'RuntimeClass "{runtime_class}" not found')
        return found["handler"]

    async def pull_secrets(self, pod: Obj) -> list[PullSecret]:
        namespace = pod["metadata"]["namespace"]
        found = []
        for reference in pod["spec"].get("imagePullSecrets") or ():
            name = reference.get("name") or ""
            secret = await self._followed(SECRETS, namespace, name)
            if secret is not None:
                uid = secret["metadata"].get("uid", "")
                found.append(PullSecret(namespace, name, uid, decoded(secret)))
        return found

    def services(self, namespace: str, linked: bool) -> Iterable[Obj]:
        chosen = {}
        if kubernetes := self._services.get("default/kubernetes"):
            chosen["kubernetes"] = kubernetes
        if linked:
            for service in self._services.list(namespace):
                chosen[service["metadata"]["name"]] = service
        return chosen.values()

    async def token(
        self, pod: Obj, audience: str, expiration_seconds: int, account_uid: str = ""
    ) -> tuple[str, float]:
        meta = pod["metadata"]
        request: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": expiration_seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": meta["name"],
                    "uid": spec.uid(pod),
                },
            },
        }
        if account_uid:
            request["metadata"] = {"uid": account_uid}
        account = pod["spec"].get("serviceAccountName") or "default"
        try:
            answer = await self._client.create(
                SERVICE_ACCOUNTS, request, meta["namespace"], name=account, subresource="token"
            )
        except ApiUnreachable as error:
            raise service_unavailable(str(error)) from None
        status = answer["status"]
        return status["token"], parse_rfc3339(status["expirationTimestamp"])

    async def _followed(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """A ConfigMap or Secret, in the way that the node follows them."""
        if self._strategy == GET:
            return await self._get(resource, namespace, name, fresh=True)
        if self._strategy == CACHE:
            return await self._get(resource, namespace, name, age=self._cache_seconds())
        key = (resource, namespace, name)
        if not self.watches.shows(key):
            found = await self._get(resource, namespace, name)
            self.watches.begin(key, found)
            return found
        shown = self.watches.get(key)
        self._keep(key, shown)
        return shown

    def _cache_seconds(self) -> float:
        """What the annotation says that the control plane gives Nodes by the cluster's size."""
        annotations = self._node().get("metadata", {}).get("annotations") or {}
        try:
            return float(int(annotations[CACHE_ANNOTATION]))
        except (KeyError, ValueError):
            return CACHE_SECONDS

    async def _get(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        fresh: bool = False,
        age: float = FRESH_SECONDS,
    ) -> Obj | None:
        """The object, or None, read within ``age`` seconds.

        ``fresh`` has it read now, and never from what was kept.
        """
        key = (resource, namespace, name)
        kept = self._kept.get(key)
        if not fresh and kept is not None and self._clock.monotonic() - kept.read < age:
            return kept.obj
        found: Obj | None = None
        try:
            found = await self._client.get(resource, name, namespace or None)
        except ApiUnreachable as error:
            if kept is None or fresh:
                raise service_unavailable(str(error)) from None
            return kept.obj
        except StatusError as error:
            if error.code != 404:
                raise
        self._keep(key, found)
        return found

    def _keep(self, key: Key, found: Obj | None) -> None:
        self._kept[key] = _Answer(found, self._clock.monotonic())
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
