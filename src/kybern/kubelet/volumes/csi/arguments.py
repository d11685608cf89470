"""What drivers are told of a volume's use: how, by whom, with which secrets and tokens."""

import json
from collections.abc import Mapping
from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.component.clock import rfc3339
from kybern.kubelet.objects import Objects
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes.csi.driver import TAKES_GROUP, Driver
from kybern.kubelet.volumes.ownership import Ownership
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.tokens import Tokens
from kybern.kubelet.volumes.use import Use

_PREFIX = "csi.storage.k8s.io/"
_DEFAULT_GROUP_POLICY = "ReadWriteOnceWithFSType"
_TOKEN_SECONDS = 3600


class Arguments:
    """Finds it out from the use, the CSIDriver and the API server."""

    def __init__(self, objects: Objects, tokens: Tokens) -> None:
        self._objects = objects
        self._tokens = tokens

    async def driver(self, name: str) -> Obj:
        """The spec of a CSIDriver, empty if there is none."""
        return objects.spec(await self._objects.csi_driver(name) or {})

    async def capability(self, driver: Driver, use: Use, *, is_device: bool = False) -> Any:
        group = None
        if use.ownership is not None and await driver.can(TAKES_GROUP):
            group = use.ownership.group
        return await driver.capability(
            use.access_modes,
            is_device=is_device,
            fs_type=use.source.get("fsType") or "",
            mount_options=use.mount_options,
            group=group,
        )

    async def group_to_apply(self, driver: Driver, use: Use) -> Ownership | None:
        """The pod's group, unless the driver sees to it or says that it makes no sense."""
        if use.ownership is None or await driver.can(TAKES_GROUP):
            return None
        declared = await self.driver(driver.name)
        policy = declared.get("fsGroupPolicy") or _DEFAULT_GROUP_POLICY
        if policy == "File":
            return use.ownership
        plain = bool(use.source.get("fsType")) and "ReadWriteOnce" in use.access_modes
        return use.ownership if policy == _DEFAULT_GROUP_POLICY and plain else None

    async def pod_info(self, use: Use) -> Mapping[str, str]:
        if not (await self.driver(use.source["driver"])).get("podInfoOnMount"):
            return {}
        return {
            f"{_PREFIX}pod.name": objects.name(use.pod),
            f"{_PREFIX}pod.namespace": objects.namespace(use.pod),
            f"{_PREFIX}pod.uid": spec.uid(use.pod),
            f"{_PREFIX}serviceAccount.name": use.pod["spec"].get("serviceAccountName") or "",
            f"{_PREFIX}ephemeral": str(use.is_inline).lower(),
        }

    async def tokens(self, use: Use) -> tuple[dict[str, str], bool]:
        """Tokens of the pod for the audiences that the driver asks for; whether as secrets."""
        declared = await self.driver(use.source["driver"])
        requests = declared.get("tokenRequests") or ()
        if not requests:
            return {}, False
        tokens = {}
        for request in requests:
            audience = request.get("audience") or ""
            seconds = request.get("expirationSeconds") or _TOKEN_SECONDS
            token, expires = await self._tokens.dated(use.pod, audience, seconds)
            tokens[audience] = {"token": token, "expirationTimestamp": rfc3339(expires)}
        shown = json.dumps(tokens, separators=(",", ":"))
        in_secrets = bool(declared.get("serviceAccountTokenInSecrets"))
        return {f"{_PREFIX}serviceAccount.tokens": shown}, in_secrets

    async def secrets(self, use: Use, field: str) -> dict[str, str]:
        """The secret that a volume names for one of the calls."""
        reference = use.source.get(field)
        if not reference:
            return {}
        namespace = reference.get("namespace") or objects.namespace(use.pod)
        data = await self._objects.secret_data(namespace, reference["name"])
        if data is None:
            raise VolumeError(f'fetching {field} failed: secret "{reference["name"]}" not found')
        return {key: value.decode() for key, value in data.items()}
