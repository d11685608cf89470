"""Which images this kubelet pulled, and by whose leave: files that outlive it.

An image that one tenant pulled with a Secret lies on the node, where others could start it by its
name. So the puller asks :meth:`PullRecords.may_use` before it hands out what is there already: yes,
if the kubelet never pulled it (somebody put it there), if it was pulled without credentials or with
the node's own, or with a Secret or for a service account that the pod has too. Otherwise it is
pulled anew, and the registry decides.

An intent is written before each pull and goes when it is over; an image whose pull was cut off
counts as pulled by nobody known. Files, their places and their form are upstream's (KEP-2535). The
collector of images says which images are left; records of others go.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from kybern.api.errors import Obj
from kybern.component.clock import Clock, parse_rfc3339
from kybern.kubelet.images.credentials import Credentials, PullAccount
from kybern.kubelet.images.reference import name_only

_API_VERSION = "kubelet.config.k8s.io/v1beta1"
# So many Secrets and accounts are remembered for one image; pods with others pull it again.
MAX_SECRETS = 100
_FILES = "sha256-"
_ALL, _SECRETS = "nodePodsAccessible", "kubernetesSecrets"
_ACCOUNTS = "kubernetesServiceAccounts"

# From an image's name, and whether the kubelet pulled it, to whether credentials must be checked.
Policy = Callable[[str, bool], bool]
# Finds out what a pod may pull the image with.
Find = Callable[[], Awaitable[Sequence[Credentials]]]


class PullRecords:
    """One node's records, below ``directory``."""

    def __init__(self, directory: Path, clock: Clock, must_check: Policy) -> None:
        self._pulling = directory / "pulling"
        self._pulled = directory / "pulled"
        self._clock = clock
        self._must_check = must_check
        self._under_way: Counter[str] = Counter()
        self._one_at_a_time = asyncio.Lock()
        for place in (self._pulling, self._pulled):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.interrupted = any(self._pulling.iterdir())

    async def settle(self, images: Sequence[Any]) -> None:
        """Record what was being pulled and the runtime has, if ``interrupted``."""
        self.interrupted = False
        async with self._one_at_a_time:
            await asyncio.to_thread(self._settle, images)

    def _settle(self, images: Sequence[Any]) -> None:
        intents = {str(intent.get("image")) for intent in _read_all(self._pulling)}
        for image in images:
            for name in intents & {*image.repo_tags, *image.repo_digests}:
                self._record(name, image.id, None)
                _file(self._pulling, name).unlink(missing_ok=True)

    async def begin(self, reference: str) -> None:
        """A pull begins; finish, fail or abandon follows, unless the kubelet dies."""
        self._under_way[reference] += 1
        intent = {"kind": "ImagePullIntent", "apiVersion": _API_VERSION, "image": reference}
        await asyncio.to_thread(_write, _file(self._pulling, reference), intent)

    async def finish(self, reference: str, image_id: str, used: Credentials | None) -> None:
        """A pull has succeeded with these credentials, None if none were needed."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self._record, reference, image_id, _granted(used))
        await self.fail(reference)

    async def fail(self, reference: str) -> None:
        """A pull is over and leaves nothing to remember."""
        if self._was_last(reference):
            await asyncio.to_thread(_file(self._pulling, reference).unlink, missing_ok=True)

    def abandon(self, reference: str) -> None:
        """Nobody waits for a pull any more: as far as is known it may have succeeded."""
        self._was_last(reference)
        self.interrupted = True

    def _was_last(self, reference: str) -> bool:
        """One pull of a reference is over; whether none is under way now."""
        self._under_way[reference] -= 1
        if self._under_way[reference] > 0:
            return False
        del self._under_way[reference]
        return True

    async def may_use(self, reference: str, image_id: str, find: Find) -> bool:
        """Whether a pod, whose credentials ``find`` knows, may use an image that is there."""
        async with self._one_at_a_time:
            known = await asyncio.to_thread(self._for_all, reference, image_id)
        if known is not None:
            return known
        # A plugin may take its time, and the records are free meanwhile.
        credentials = await find()
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._may_use, reference, image_id, credentials)

    def _for_all(self, reference: str, image_id: str) -> bool | None:
        """Whether every pod may use the image; None if that depends on the pod."""
        record = _read(_file(self._pulled, image_id))
        pulled = record is not None or _file(self._pulling, reference).exists()
        if not self._must_check(reference, pulled):
            return True
        known = _for_whom(record, reference)
        if known.get(_ALL):
            return True
        return None if known.get(_SECRETS) or known.get(_ACCOUNTS) else False

    def _may_use(self, reference: str, image_id: str, credentials: Sequence[Credentials]) -> bool:
        known = _for_whom(_read(_file(self._pulled, image_id)), reference)
        secrets, accounts = known.get(_SECRETS) or (), known.get(_ACCOUNTS) or ()
        for own in credentials:
            granted = _granted(own)
            if any(mine in accounts for mine in granted.get(_ACCOUNTS, ())):
                return True
            for mine in granted.get(_SECRETS, ()):
                if any(_same(mine, other) for other in secrets):
                    if mine not in secrets and len(secrets) < MAX_SECRETS:
                        self._record(reference, image_id, granted)
                    return True
        return False

    def _record(self, reference: str, image_id: str, granted: Obj | None) -> None:
        """Add to what is known of an image; without ``granted``, only that it was pulled."""
        file = _file(self._pulled, image_id)
        record = _read(file) or {
            "kind": "ImagePulledRecord",
            "apiVersion": _API_VERSION,
            "imageRef": image_id,
        }
        mapping = record.setdefault("credentialMapping", {})
        if granted is not None:
            name = name_only(reference)
            mapping[name] = _merged(mapping.get(name) or {}, granted)
        record["lastUpdatedTime"] = self._clock.timestamp()
        _write(file, record)

    async def keep_only(self, image_ids: Collection[str], before: float) -> None:
        """Forget images that are gone; those pulled since ``before`` may not be listed yet."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self._keep_only, image_ids, before)

    def _keep_only(self, image_ids: Collection[str], before: float) -> None:
        for record in _read_all(self._pulled):
            image_id, updated = record.get("imageRef", ""), record.get("lastUpdatedTime")
            if image_id not in image_ids and (not updated or parse_rfc3339(updated) < before):
                _file(self._pulled, image_id).unlink(missing_ok=True)


def _for_whom(record: Obj | None, reference: str) -> Obj:
    """For whom an image is by this name, as its record says."""
    return (record or {}).get("credentialMapping", {}).get(name_only(reference)) or {}


def _granted(used: Credentials | None) -> Obj:
    """For whom an image is that was pulled so, as a record says it."""
    if used is None or used.source is None:
        return {_ALL: True}
    source = used.source
    of: Obj = {"uid": source.uid, "namespace": source.namespace, "name": source.name}
    if isinstance(source, PullAccount):
        return {_ACCOUNTS: [of]}
    return {_SECRETS: [{**of, "credentialHash": used.fingerprint()}]}


def _place(source: Obj) -> tuple[str, str, str]:
    return source["uid"], source["namespace"], source["name"]


def _same(mine: Obj, other: Obj) -> bool:
    """The same Secret, whatever it holds now, or another one that holds the same."""
    return _place(mine) == _place(other) or mine["credentialHash"] == other["credentialHash"]


def _merged(old: Obj, new: Obj) -> Obj:
    if old.get(_ALL) or new.get(_ALL):
        return {_ALL: True}
    merged = {}
    for kind in (_SECRETS, _ACCOUNTS):
        both = {_place(one): one for one in (*(old.get(kind) or ()), *(new.get(kind) or ()))}
        if both:
            merged[kind] = list(both.values())[-MAX_SECRETS:]
    return merged


def _file(directory: Path, name: str) -> Path:
    return directory / (_FILES + hashlib.sha256(name.encode()).hexdigest())


def _read_all(directory: Path) -> Iterator[Obj]:
    for file in sorted(directory.glob(f"{_FILES}*")):
        if (found := _read(file)) is not None:
            yield found


def _read(file: Path) -> Obj | None:
    """What a file says; one that cannot be read says that there was a pull, and not whose."""
    try:
        found = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, content: Obj) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(orjson.dumps(content))
    partial.replace(file)
