"""Compacts the store as upstream does: every five minutes, to where it was five minutes before.

So a list can be continued, and a watch resumed, for five to ten minutes. Run by the
:class:`~kybern.apiserver.cache.feed.CacheSet` next to its feed.
"""

import asyncio
import logging
from collections.abc import Callable

from kybern.store.interface import Compacted, Store, StoreClosed

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 300.0


async def compact_regularly(store: Store, tell: Callable[[int], None]) -> None:
    """Keep the last interval's history; runs until cancelled or the store is closed.

    ``tell`` gets each revision that the store is compacted to.
    """
    try:
        earlier = await store.revision()
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            newest = await store.revision()
            try:
                await store.compact(earlier)
                tell(earlier)
            except Compacted as further:
                tell(further.compacted_revision)
                log.debug("Another server has compacted further than revision %d.", earlier)
            earlier = newest
    except StoreClosed as error:
        log.info("Compaction stops: %s", error)
