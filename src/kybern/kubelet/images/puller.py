"""Makes sure a container's image is on the node: pull policy, credentials, back-off, events."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.component.duration import go_duration
from kybern.kubelet.cri.client import Runtime, cri
from kybern.kubelet.images.credentials import Credentials, PullSecret
from kybern.kubelet.images.failures import PULL, PullFailed
from kybern.kubelet.images.lookup import CredentialLookup, PodCredentials
from kybern.kubelet.images.records import PullRecords
from kybern.kubelet.images.reference import InvalidReference, with_default_tag
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.backoff import Backoff
from kybern.kubelet.pods.failures import StartFailure
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

INITIAL_BACKOFF = 10.0
LONGEST_BACKOFF = 300.0
MAX_REMEMBERED_ERRORS = 1024

# (type, reason, message): an event about the container whose image it is.
Report = Callable[[str, str, str], None]


class Puller:
    """One node's image pulls; pulls of the same image wait for one another."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        parallel: int,
        records: PullRecords,
        lookup: CredentialLookup,
    ) -> None:
        self._runtime = runtime
        self._lookup = lookup
        self._clock = clock
        self.records = records
        self._slots = asyncio.Semaphore(parallel)
        self._backoff = Backoff(INITIAL_BACKOFF, LONGEST_BACKOFF)
        self._last_errors: OrderedDict[str, str] = OrderedDict()

    async def ensure(
        self,
        pod: Obj,
        container: Obj,
        secrets: Sequence[PullSecret],
        sandbox_config: Any,
        report: Report,
    ) -> Any:
        """The runtime's Image for a container; raises StartFailure with the waiting reason."""
        name = container.get("image", "")
        try:
            reference = with_default_tag(name)
        except InvalidReference as error:
            message = f'Failed to apply default image tag "{name}": {error}'
            report("Warning", "InspectFailed", message)
            raise StartFailure("InvalidImageName", message) from None
        try:
            if self.records.interrupted:
                await self.records.settle(await self._runtime.images())
            present = await self._runtime.image(reference)
        except RpcError as error:
            message = f'Failed to inspect image "{reference}": {error}'
            report("Warning", "InspectFailed", message)
            raise StartFailure("ImageInspectError", message) from None
        policy = container.get("imagePullPolicy") or "IfNotPresent"
        credentials = PodCredentials(self._lookup, reference, pod, secrets)
        # Who may not use an image that is there is not told that it is there, either.
        if (
            present is not None
            and policy != "Always"
            and await self.records.may_use(reference, present.id, credentials.get)
        ):
            message = f'Container image "{name}" already present on machine'
            report("Normal", "Pulled", f"{message} and can be accessed by the pod")
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            report("Warning", "ErrImageNeverPull", message)
            raise StartFailure("ErrImageNeverPull", message)
        await self._pull(pod, name, reference, credentials, sandbox_config, report)
        pulled = await self._runtime.image(reference)
        if pulled is None:
            raise StartFailure(PULL, f'image "{reference}" vanished after its pull')
        return pulled

    async def _pull(
        self,
        pod: Obj,
        name: str,
        reference: str,
        credentials: PodCredentials,
        sandbox_config: Any,
        report: Report,
    ) -> None:
        """Pull ``reference``, which the pod calls ``name``, and so do events and messages."""
        key = f"{spec.uid(pod)}_{name}"
        now = self._clock.time()
        left = self._backoff.remaining_since_failure(key, now)
        if left > 0:
            message = f'Back-off pulling image "{name}"'
            report("Normal", "BackOff", message)
            if last := self._last_errors.get(key):
                message = f"{message}: {last}"
            raise StartFailure("ImagePullBackOff", message, retry_after=left)
        usable = await credentials.get()
        report("Normal", "Pulling", f'Pulling image "{name}"')
        asked = self._clock.monotonic()
        async with self._slots:
            started = self._clock.monotonic()
            try:
                await self.records.begin(reference)
                used = await self._pull_with(reference, usable, sandbox_config)
            except OSError as error:
                message = "Failed to record image pull intent for container image"
                raise StartFailure(PULL, f'{message} "{name}": {error}') from None
            except PullFailed as error:
                await self.records.fail(reference)
                self._failed(key, error, name, report)
            except asyncio.CancelledError:
                # The pod went while its image was on the way.
                self.records.abandon(reference)
                raise
        done = self._clock.monotonic()
        image = await self._runtime.image(reference)
        await self._record(reference, image, used)
        report(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in {go_duration(round(done - started, 3))} '
            f"({go_duration(round(done - asked, 3))} including waiting). "
            f"Image size: {image.size if image else 0} bytes.",
        )

    async def _pull_with(
        self, reference: str, credentials: Sequence[Credentials], sandbox_config: Any
    ) -> Credentials | None:
        """Try each fitting credential, or none at all; which one did. Raises PullFailed."""
        refusals: list[RpcError] = []
        for tried in credentials or (None,):
            auth = tried and cri.AuthConfig(
                username=tried.login.username, password=tried.login.password
            )
            try:
                await self._runtime.pull_image(reference, auth, sandbox_config)
            except RpcError as error:
                refusals.append(error)
            else:
                return tried
        raise PullFailed(refusals)

    async def _record(self, reference: str, image: Any, used: Credentials | None) -> None:
        """Remember who pulled; where that fails, the intent stays, and the next one pulls again."""
        if image is None:
            return
        try:
            await self.records.finish(reference, image.id, used)
        except OSError as error:
            logger.warning("pull of image %s not recorded: %s", reference, error)

    def _failed(self, key: str, error: PullFailed, name: str, report: Report) -> NoReturn:
        report("Warning", "Failed", f'Failed to pull image "{name}": {error}')
        now = self._clock.time()
        self._backoff.failed(key, now)
        reason, message = error.waiting(name)
        self._last_errors[key] = f"{reason}: {message}"
        if len(self._last_errors) > MAX_REMEMBERED_ERRORS:
            self._last_errors.popitem(last=False)
        raise StartFailure(reason, message, retry_after=self._backoff.delay(key))

    def forget(self, uid: str) -> None:
        """The pod is gone; so is its back-off."""
        self._backoff.forget(f"{uid}_")
