"""API objects that pods refer to by name: ConfigMaps, Secrets, Services, and tokens.

:class:`Objects` is what environments and volumes read; ``sources/references.py`` serves it from the
API server. It is an interface so that pods can also run where no API server is.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from kybern.api.errors import Obj
from kybern.kubelet.images.credentials import PullSecret


class Objects(Protocol):
    """What a pod's spec may refer to. Reads raise StatusError where the server does not answer."""

    def follow(self, pod: Obj) -> None:
        """The node has this pod: what it refers to is kept up to date."""
        ...

    def forget(self, uid: str) -> None:
        """The node no longer has this pod."""
        ...

    async def config_map(self, namespace: str, name: str) -> Obj | None:
        """The ConfigMap, or None if there is none."""
        ...

    async def secret_data(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The Secret's data, decoded, or None if there is none."""
        ...

    async def claim(self, namespace: str, name: str) -> Obj | None:
        """The PersistentVolumeClaim, or None."""
        ...

    async def resource_claim(self, namespace: str, name: str) -> Obj | None:
        """The ResourceClaim as it is now, or None."""
        ...

    async def persistent_volume(self, name: str) -> Obj | None:
        """The PersistentVolume, or None."""
        ...

    async def write_claim_status(self, claim: Obj) -> None:
        """Write a claim's status; refused if the claim has changed meanwhile."""
        ...

    async def csi_driver(self, name: str) -> Obj | None:
        """The CSIDriver, or None."""
        ...

    async def volume_attachment(self, name: str) -> Obj | None:
        """The VolumeAttachment as it is now, or None."""
        ...

    async def volumes_attached(self, node: str) -> list[str]:
        """The volumes that are attached to this node, as the Node says now."""
        ...

    async def write_volumes_in_use(self, node: str, names: Sequence[str]) -> None:
        """Say in the Node which volumes this node uses."""
        ...

    async def pull_secrets(self, pod: Obj) -> list[PullSecret]:
        """The pod's image pull Secrets; missing ones are left out."""
        ...

    async def service_account(self, namespace: str, name: str) -> Obj | None:
        """The ServiceAccount, or None."""
        ...

    async def runtime_handler(self, runtime_class: str) -> str:
        """The runtime handler that a RuntimeClass names; StatusError 404 if there is no class."""
        ...

    def services(self, namespace: str, linked: bool) -> Iterable[Obj]:
        """Services for variables: the namespace's if ``linked``, and always ``kubernetes``."""
        ...

    async def token(
        self, pod: Obj, audience: str, expiration_seconds: int, account_uid: str = ""
    ) -> tuple[str, float]:
        """A service account token bound to the pod, and when it expires (epoch seconds).

        With ``account_uid`` it is that very account's, or refused.
        """
        ...


def decoded(secret: Obj) -> dict[str, bytes]:
    """A Secret's ``data`` as bytes."""
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
