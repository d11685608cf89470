"""Regular compaction of an etcd that several API servers share: one of them does it at a time.

The protocol is upstream's, so servers of both sorts take turns: the version of one key is the
common clock. Who moves it on compacts to where etcd was at its own turn before; who finds it moved
has nothing to do, and takes over when the other has stopped.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple

from kybern.rpc.etcd import EtcdClient, EtcdError, proto

log = logging.getLogger(__name__)

# Upstream's, outside of every prefix. Its value is the revision of the newest compaction.
KEY = b"compact_rev_key"


class _Clock(NamedTuple):
    """The common clock as this server saw it last, and etcd's revision then."""

    version: int = 0
    revision: int = 0


async def compact_together(client: EtcdClient, interval: float) -> AsyncIterator[int]:
    """Yields what etcd is compacted to, by whomever; 0 seconds is never."""
    clock = _Clock()
    while interval:
        await asyncio.sleep(interval)
        try:
            clock, compacted = await _turn(client, clock)
        except EtcdError as error:
            log.warning("Compacting etcd failed, to be tried again: %s", error)
            continue
        if compacted:
            yield compacted


async def compact(client: EtcdClient, revision: int) -> None:
    """Compact to a revision; it may be compacted further already."""
    try:
        request = proto.CompactionRequest(revision=revision)
        await client.call("KV", "Compact", request, repeatable=True)
    except EtcdError as error:
        if not error.compacted:
            raise


async def _turn(client: EtcdClient, clock: _Clock) -> tuple[_Clock, int]:
    """Move the clock on, unless somebody else has; the revision of the newest compaction."""
    unmoved = proto.Compare(key=KEY, target=proto.Compare.VERSION, version=clock.version)
    put = proto.PutRequest(key=KEY, value=b"%d" % clock.revision)
    transaction = proto.TxnRequest(
        compare=[unmoved],
        success=[proto.RequestOp(request_put=put)],
        failure=[proto.RequestOp(request_range=proto.RangeRequest(key=KEY))],
    )
    # Repeated after it went through, it finds the clock moved, and the next turn is somebody's.
    response = await client.call("KV", "Txn", transaction, repeatable=True)
    revision = response.header.revision
    if not response.succeeded:
        (found,) = response.responses[0].response_range.kvs
        return _Clock(found.version, revision), int(found.value)
    if clock.revision:
        await compact(client, clock.revision)
    return _Clock(clock.version + 1, revision), clock.revision
