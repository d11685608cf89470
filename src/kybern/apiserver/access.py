"""Everything that decides about a request, made and joined from the server's flags.

``server.py`` makes one :class:`Access`, awaits :meth:`Access.start` before the first request, and
hands its parts to the pipeline: ``authenticate``, ``authorizers``, ``admission``, ``reviews`` and
``token_requests``.
"""

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from kybern.api.kinds import Registry
from kybern.api.user import UserInfo
from kybern.apiserver.admission import AdmissionChain
from kybern.apiserver.admission.chain import Surroundings, build_chain
from kybern.apiserver.authentication.authenticator import Authenticators, TokenAuthenticator
from kybern.apiserver.authentication.impersonation import impersonated, impersonates
from kybern.apiserver.authentication.service_accounts import ServiceAccountTokens
from kybern.apiserver.authentication.static_tokens import StaticTokens
from kybern.apiserver.authorization.authorizer import Authorizer, Authorizers
from kybern.apiserver.authorization.escalation import EscalationCheck
from kybern.apiserver.authorization.node import NodeAuthorizer
from kybern.apiserver.authorization.node_graph import NodeGraph
from kybern.apiserver.authorization.rbac import RbacAuthorizer
from kybern.apiserver.cache import CacheSet
from kybern.apiserver.config import Config
from kybern.apiserver.lookup import CacheLookup
from kybern.apiserver.loopback import Loopback
from kybern.apiserver.reviews import Review, build_reviews
from kybern.apiserver.token_request import TokenRequests
from kybern.apiserver.token_review import TokenReviewer
from kybern.apiserver.tokens import PublicKey, TokenSigner, TokenVerifier, load_public_keys
from kybern.component.client_certificates import ClientCertificates
from kybern.component.clock import Clock
from kybern.component.http.messages import Request
from kybern.component.pki import generate_key, load_private_key


class Access:
    """Authentication, authorization, admission and the reviews of one server."""

    authorizers: Authorizers
    admission: AdmissionChain
    reviews: Mapping[str, Review]
    token_requests: TokenRequests

    def __init__(self, config: Config, caches: CacheSet, registry: Registry, clock: Clock) -> None:
        self._config = config
        self._caches = caches
        self._registry = registry
        self._clock = clock
        self.lookup = CacheLookup(caches, registry)
        self._key = _signing_key(config)
        self.token_keys: list[PublicKey] = _verifying_keys(config) or [self._key.public_key()]

    async def start(self, loopback: Loopback) -> None:
        """Load the caches that decisions rest on, and build what decides."""
        for kind in self._registry.kinds():
            if kind.stored:
                await self._caches.cache(kind).start()
        config, clock = self._config, self._clock
        rbac = RbacAuthorizer(self.lookup)
        self.authorizers = Authorizers(self._authorizers(rbac))
        verifier = TokenVerifier(self.token_keys, config.service_account_issuer, config.audiences)
        accounts = ServiceAccountTokens(verifier, self.lookup, clock)
        static: list[TokenAuthenticator] = []
        if config.token_auth_file:
            static.append(StaticTokens(Path(config.token_auth_file)))
        self._authenticators = Authenticators(
            _client_certificates(config, clock), [*static, accounts], config.anonymous_auth
        )
        self.token_requests = TokenRequests(
            TokenSigner(self._key, config.service_account_issuer[0]),
            self.lookup,
            clock,
            audiences=config.audiences,
            longest_seconds=config.service_account_max_token_expiration,
            extend=config.service_account_extend_token_expiration,
        )
        reviewer = TokenReviewer(verifier, accounts, static, config.audiences)
        self.reviews = build_reviews(self.authorizers, rbac, reviewer)
        around = Surroundings(
            config,
            self.lookup,
            clock,
            self._caches,
            self._registry,
            self.authorizers,
            loopback,
        )
        self.admission = build_chain(around, EscalationCheck(self.authorizers, rbac))

    async def authenticate(self, request: Request) -> UserInfo:
        """Who makes the request, or whom they act as; raises 401 and 403."""
        user = await self._authenticators.authenticate(request)
        if impersonates(request):
            return await impersonated(request, user, self.authorizers)
        return user

    def _authorizers(self, rbac: RbacAuthorizer) -> list[Authorizer]:
        chosen: list[Authorizer] = []
        for mode in self._config.authorization_mode:
            if mode == "RBAC":
                chosen.append(rbac)
            elif mode == "Node":
                chosen.append(NodeAuthorizer(NodeGraph(self.lookup)))
            else:
                raise ValueError(f'unknown authorization mode "{mode}"')
        return chosen


def _signing_key(config: Config) -> EllipticCurvePrivateKey:
    path = config.service_account_signing_key_file
    return load_private_key(Path(path).read_bytes()) if path else generate_key()


def _verifying_keys(config: Config) -> list[PublicKey]:
    return [
        key
        for path in config.service_account_key_file
        for key in load_public_keys(Path(path).read_bytes())
    ]


def _client_certificates(config: Config, clock: Clock) -> ClientCertificates | None:
    if not config.client_ca_file:
        return None
    return ClientCertificates(Path(config.client_ca_file).read_bytes(), clock)
