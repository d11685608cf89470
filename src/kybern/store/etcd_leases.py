"""Leases of etcd: keys with about the same end share one, because a lease is dear.

As upstream: a lease lasts a twentieth longer than asked for (a minute at most), and meanwhile takes
up to a thousand keys.
"""

import asyncio

from kybern.rpc.etcd import EtcdClient, proto

MAX_EXTRA_SECONDS = 60
EXTRA_SHARE = 0.05
MAX_KEYS = 1_000


class Leases:
    """Hands out lease numbers by the seconds that a key is to live."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._granting = asyncio.Lock()
        self._lease = 0
        self._ends = 0.0
        self._keys = 0

    async def lease(self, ttl: int) -> int:
        """The number of a lease that ends after ``ttl`` seconds or a little later; 0 for none."""
        if not ttl:
            return 0
        extra = min(int(ttl * EXTRA_SHARE), MAX_EXTRA_SECONDS)
        loop = asyncio.get_running_loop()
        async with self._granting:
            needed = loop.time() + ttl
            if self._keys >= MAX_KEYS or not needed < self._ends < needed + extra:
                request = proto.LeaseGrantRequest(TTL=ttl + extra)
                granted = await self._client.call("Lease", "LeaseGrant", request, repeatable=True)
                self._lease, self._ends, self._keys = granted.ID, needed + extra, 0
            self._keys += 1
            return self._lease

    def forget(self) -> None:
        """etcd knows the lease no more."""
        self._ends = 0.0
