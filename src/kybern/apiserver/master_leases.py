"""Which API servers there are: each keeps a key with a lease in the store that they share.

As upstream: ``/masterleases/ADDRESS`` holds Endpoints with that address and goes 15 seconds after
its server has last renewed it. ``kubernetes_service.py`` makes the endpoints of the Service from
them.
"""

import orjson

from kybern.api.errors import Obj
from kybern.apiserver.cache import read_value
from kybern.store.interface import Entry, RevisionMismatch, Store

PREFIX = "/registry/masterleases/"
LEASE_SECONDS = 15


class MasterLeases:
    """The addresses of the servers that renew their leases."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def renew(self, address: str) -> None:
        """Keep an address for another while; raises StoreError."""
        entry = await self._store.get(PREFIX + address)
        generation = 0
        if entry is not None:
            generation = read_value(entry)["metadata"].get("generation", 0)
        payload = orjson.dumps(_endpoints(address, generation + 1))
        try:
            if entry is None:
                await self._store.create(PREFIX + address, payload, ttl=LEASE_SECONDS)
            else:
                await self._store.update(entry.key, payload, entry.mod_revision, ttl=LEASE_SECONDS)
        except RevisionMismatch:
            # It ended just now, or a server of the same address was faster; the next turn renews.
            return

    async def addresses(self) -> list[str]:
        """All addresses, in order; raises StoreError."""
        page = await self._store.list(PREFIX)
        found = {address for entry in page.entries for address in _addresses(entry)}
        return sorted(found)

    async def give_up(self, address: str) -> None:
        """Remove an address at once; raises StoreError."""
        entry = await self._store.get(PREFIX + address)
        if entry is not None:
            try:
                await self._store.delete(entry.key, entry.mod_revision)
            except RevisionMismatch:
                return


def _endpoints(address: str, generation: int) -> Obj:
    return {
        "kind": "Endpoints",
        "apiVersion": "v1",
        # What makes each renewal a change.
        "metadata": {"generation": generation},
        "subsets": [{"addresses": [{"ip": address}]}],
    }


def _addresses(entry: Entry) -> list[str]:
    subsets = read_value(entry).get("subsets") or []
    return [address["ip"] for subset in subsets[:1] for address in subset["addresses"][:1]]
