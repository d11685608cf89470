"""The API server as one object: every part made and joined.

``main.py`` serves its handler over HTTPS; tests and single-process clusters call the handler
directly. Caches load when their kind is first asked for, so an empty server is up at once.
"""

from kybern.api.kinds import builtin_registry
from kybern.apiserver.admission import AdmissionChain
from kybern.apiserver.authentication.authenticator import Authenticators
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.cache import CacheSet
from kybern.apiserver.call import Services
from kybern.apiserver.pipeline import Pipeline
from kybern.component.clock import Clock
from kybern.store.interface import Store


class ApiServer:
    """One API server over a store. ``start`` before handling; ``close`` ends every watch."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.registry = builtin_registry()
        self.caches = CacheSet(store, clock)
        self.authorizers = Authorizers([])
        self.services = Services(
            self.registry, self.caches, clock, self.authorizers, AdmissionChain([])
        )
        authenticators = Authenticators(None, [])
        self.handler = Pipeline(self.services, authenticators.authenticate, {}).handle

    async def start(self) -> None:
        """Follow the store."""
        await self.caches.start()

    async def close(self) -> None:
        """Stop following the store, which stays open."""
        await self.caches.close()
