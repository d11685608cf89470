"""Finds what a pod may pull an image with: its Secrets, then the node's own files, then plugins.

The puller makes one :class:`PodCredentials` per container; nobody looks for credentials where an
image may be used without, because a plugin may take a minute to answer.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.kubelet.config import Config
from kybern.kubelet.images.credentials import Credentials, Login, PullAccount, PullSecret
from kybern.kubelet.images.docker_config import NodeLogins, logins_of
from kybern.kubelet.images.keyring import Keyring
from kybern.kubelet.images.reference import repository
from kybern.kubelet.objects import Objects
from kybern.kubelet.paths import Paths
from kybern.kubelet.volumes.tokens import Tokens

logger = logging.getLogger(__name__)


class CredentialProvider(Protocol):
    """Something that may know logins for an image: ``providers/provider.py``."""

    async def provide(
        self, repository: str, pod: Obj
    ) -> tuple[Mapping[str, Login], PullAccount | None]:
        """Logins by place, and the account that they are for, None if they are the node's."""
        ...


class CredentialLookup:
    """All that one node knows of registries' users."""

    def __init__(self, node: NodeLogins, providers: Sequence[CredentialProvider] = ()) -> None:
        self._node = node
        self._providers = providers

    async def find(self, image: str, pod: Obj, secrets: Sequence[PullSecret]) -> list[Credentials]:
        """The credentials that fit, in the order in which they are to be tried."""
        wanted = repository(image)
        rings = of_secrets, of_node, of_providers = Keyring(), Keyring(), Keyring()
        for secret in secrets:
            try:
                of_secrets.add(logins_of(secret), secret)
            except ValueError as error:
                # The pull then says what is missing.
                logger.warning(
                    "passing over Secret %s/%s: %s", secret.namespace, secret.name, error
                )
        of_node.add(await self._node.get())
        for provider in self._providers:
            of_providers.add(*await provider.provide(wanted, pod))
        return [credentials for ring in rings for credentials in ring.find(wanted)]


class PodCredentials:
    """What one pod may pull one image with, found out when it is first asked for."""

    def __init__(
        self, lookup: CredentialLookup, image: str, pod: Obj, secrets: Sequence[PullSecret]
    ) -> None:
        self._lookup = lookup
        self._asked = (image, pod, secrets)
        self._found: Sequence[Credentials] | None = None

    async def get(self) -> Sequence[Credentials]:
        if self._found is None:
            self._found = await self._lookup.find(*self._asked)
        return self._found


def make_lookup(
    config: Config, paths: Paths, objects: Objects, tokens: Tokens, clock: Clock
) -> CredentialLookup:
    """The lookup for a node's configuration. Blocks; raises BadFlag for plugins that are not."""
    node = NodeLogins(paths.root, clock)
    directory = config.image_credential_provider_bin_dir
    if not (config.image_credential_provider_config or directory):
        return CredentialLookup(node)
    from kybern.kubelet.images.providers.provider import make_providers

    found = make_providers(
        config.image_credential_provider_config, directory, objects, tokens, clock
    )
    return CredentialLookup(node, found)
