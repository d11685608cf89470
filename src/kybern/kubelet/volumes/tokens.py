"""Service account tokens for volumes and credential providers.

Each is asked for once, and renewed when 80% of its life is over.
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass

from kybern.api.errors import Obj, StatusError
from kybern.component.clock import Clock
from kybern.kubelet.objects import Objects
from kybern.kubelet.pods import spec

logger = logging.getLogger(__name__)

RENEW_AT = 0.8
RENEW_AFTER = 24 * 3600.0
MAX_TOKENS = 4096


@dataclass(slots=True)
class _Token:
    text: str
    issued: float
    expires: float


class Tokens:
    """Tokens by pod, audience and wanted lifetime; bounded, the oldest are forgotten first."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, int, str], _Token] = OrderedDict()

    async def token(self, pod: Obj, audience: str, seconds: int, account_uid: str = "") -> str:
        """A token that is good for a while yet; with ``account_uid``, of that very account."""
        return (await self.dated(pod, audience, seconds, account_uid))[0]

    async def dated(
        self, pod: Obj, audience: str, seconds: int, account_uid: str = ""
    ) -> tuple[str, float]:
        """Such a token, and when it expires (epoch seconds)."""
        key = (spec.uid(pod), audience, seconds, account_uid)
        kept = self._kept.get(key)
        now = self._clock.time()
        if kept is not None:
            due = kept.issued + min(RENEW_AT * (kept.expires - kept.issued), RENEW_AFTER)
            if now < due:
                return kept.text, kept.expires
        try:
            text, expires = await self._objects.token(pod, audience, seconds, account_uid)
        except StatusError as error:
            if kept is None or kept.expires <= now:
                raise
            # The old one is good for a while yet, and the next sync asks again.
            logger.warning("renewing a token of %s: %s", spec.full_name(pod), error)
            return kept.text, kept.expires
        self._kept[key] = _Token(text, now, expires)
        if len(self._kept) > MAX_TOKENS:
            self._kept.popitem(last=False)
        return text, expires

    def forget(self, uid: str) -> None:
        for key in [key for key in self._kept if key[0] == uid]:
            del self._kept[key]
