"""One credential provider: asks its plugin for an image, once at a time, and keeps the answers.

With a service account's token (KEP-4412) what is kept belongs to that account, and to the
annotations that the plugin was told; where the configuration says so, to the one token.
"""

import asyncio
import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kybern.api.errors import Obj, StatusError, not_found
from kybern.component.clock import Clock
from kybern.component.flags import BadFlag
from kybern.kubelet.images.credentials import Login, PullAccount
from kybern.kubelet.images.keyring import matches
from kybern.kubelet.images.providers import metrics
from kybern.kubelet.images.providers.configuration import (
    ConfigError,
    ProviderConfig,
    TokenAttributes,
    read,
)
from kybern.kubelet.images.providers.plugin import Plugin, PluginError, Response
from kybern.kubelet.objects import Objects
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes.tokens import Tokens

logger = logging.getLogger(__name__)

MAX_KEPT = 1024
# What tokens of the API live where nobody asks for anything else.
TOKEN_SECONDS = 3600
_EVERYTHING = "<global>"

Logins = Mapping[str, Login]


@dataclass(frozen=True, slots=True)
class _Asker:
    """For whom a plugin is asked; nobody in particular where it does not want to know."""

    account: PullAccount | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    # A token that is a password must not be kept for others.
    may_not_echo: bool = False
    # What answers for it are kept under.
    key: Hashable = ()

    @property
    def request_key(self) -> Hashable:
        """The same for those who ask a plugin the same."""
        return self.token, tuple(sorted(self.annotations.items()))


@dataclass(frozen=True, slots=True)
class _Kept:
    logins: Logins
    expires: float


class Provider:
    """A :class:`~kybern.kubelet.images.lookup.CredentialProvider` that a plugin stands behind."""

    def __init__(
        self,
        config: ProviderConfig,
        directory: Path,
        objects: Objects,
        tokens: Tokens,
        clock: Clock,
    ) -> None:
        self._config = config
        self._plugin = Plugin(config, directory, clock)
        self._objects = objects
        self._tokens = tokens
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Task[Response]] = {}

    async def provide(self, repository: str, pod: Obj) -> tuple[Logins, PullAccount | None]:
        """Logins by place, and for whom they are; nothing where the plugin fails."""
        if not any(matches(glob, repository) for glob in self._config.match_images):
            return {}, None
        try:
            asker = await self._asker(pod)
            if asker is None:
                return {}, None
            return await self._logins(repository, asker), asker.account
        except (PluginError, StatusError) as error:
            logger.error(
                "provider %s failed to provide credentials for image %s of pod %s: %s",
                self._config.name,
                repository,
                spec.full_name(pod),
                error,
            )
            return {}, None

    async def _asker(self, pod: Obj) -> _Asker | None:
        """For whom the plugin is asked; None if it is not to be asked for this pod."""
        wanted, name = self._config.token, pod["spec"].get("serviceAccountName")
        if wanted is None:
            return _Asker()
        if not name:
            return None if wanted.required else _Asker()
        namespace = pod["metadata"]["namespace"]
        found = await self._objects.service_account(namespace, name)
        if found is None:
            raise not_found("serviceaccounts", name)
        annotations = _annotations(found, wanted)
        if annotations is None:
            return None
        account = PullAccount(namespace, name, found["metadata"]["uid"])
        token = await self._tokens.token(pod, wanted.audience, TOKEN_SECONDS, account.uid)
        digest = hashlib.sha256(token.encode()).hexdigest() if wanted.per_token else ""
        key = (account, tuple(sorted(annotations.items())), digest)
        return _Asker(account, annotations, token, not wanted.per_token, key)

    async def _logins(self, repository: str, asker: _Asker) -> Logins:
        registry = repository.partition("/")[0]
        now = self._clock.monotonic()
        for scope in (repository, registry, _EVERYTHING):
            kept = self._kept.get((scope, asker.key))
            if kept is not None and now < kept.expires:
                return kept.logins
        answer = await self._ask(repository, asker)
        if asker.may_not_echo and any(
            login.password == asker.token for login in answer.logins.values()
        ):
            raise PluginError(
                "credential provider plugin returned the service account token as the password "
                "which is not allowed when service account cache type is not set to 'Token'"
            )
        scopes = {"Image": repository, "Registry": registry, "Global": _EVERYTHING}
        if answer.cache_key_type not in scopes:
            raise PluginError(
                "credential provider plugin did not return a valid cacheKeyType: "
                f"{answer.cache_key_type}"
            )
        self._keep((scopes[answer.cache_key_type], asker.key), answer)
        return answer.logins

    async def _ask(self, repository: str, asker: _Asker) -> Response:
        """The plugin's answer; who asks the same at the same time gets the same."""
        key = (repository, asker.request_key)
        task = self._under_way.get(key)
        if task is None:
            request = self._plugin.ask(repository, asker.token, asker.annotations)
            task = self._under_way[key] = asyncio.create_task(request)
            task.add_done_callback(lambda done: self._over(key, done))
        # A pod that goes does not take the answer from the others.
        return await asyncio.shield(task)

    def _over(self, key: Hashable, done: asyncio.Task[Response]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            # Perhaps nobody waits any more; then the failure is nobody's.
            done.exception()

    def _keep(self, key: Hashable, answer: Response) -> None:
        seconds = answer.cache_seconds
        if seconds is None:
            seconds = self._config.cache_seconds
        if not seconds:
            return
        now = self._clock.monotonic()
        for old in [old for old, kept in self._kept.items() if kept.expires <= now]:
            del self._kept[old]
        self._kept[key] = _Kept(answer.logins, now + seconds)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


def make_providers(
    path: str, directory: str, objects: Objects, tokens: Tokens, clock: Clock
) -> list[Provider]:
    """The providers that a node's configuration names. Blocks; raises BadFlag."""
    programs = Path(directory)
    try:
        if not directory or not programs.exists():
            raise ConfigError(f"plugin binary directory {directory} did not exist")
        configs, digest = read(path)
        for config in configs:
            _check_program(programs / config.name)
    except ConfigError as error:
        raise BadFlag(f"Failed to register CRI auth plugins: {error}") from None
    metrics.configured(digest)
    return [Provider(config, programs, objects, tokens, clock) for config in configs]


def _check_program(file: Path) -> None:
    if not file.is_file():
        raise ConfigError(f"plugin binary executable {file} did not exist")
    if not os.access(file, os.X_OK):
        raise ConfigError(f"error inspecting binary executable {file}: permission denied")


def _annotations(account: Obj, wanted: TokenAttributes) -> Mapping[str, str] | None:
    """What the plugin is told of an account's annotations; None if it lacks one that it needs."""
    has = account["metadata"].get("annotations") or {}
    if any(key not in has for key in wanted.required_annotations):
        return None
    keys = (*wanted.required_annotations, *wanted.optional_annotations)
    return {key: has[key] for key in keys if key in has}
