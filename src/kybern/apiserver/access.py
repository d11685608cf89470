"""Everything that decides about a request, made and joined from the server's flags.

``server.py`` makes one :class:`Access`, awaits :meth:`Access.start` before the first request, and
hands its parts to the pipeline: ``authenticate``, ``authorizers``, ``admission``, ``reviews`` and
``token_requests``.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from kybern.api.kinds import Registry
from kybern.api.user import UserInfo
from kybern.apiserver.admission import AdmissionChain
from kybern.apiserver.admission.chain import Surroundings, build_chain
from kybern.apiserver.authentication.authenticator import Authenticators, TokenAuthenticator
from kybern.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from kybern.apiserver.authentication.impersonation import impersonated, impersonates
from kybern.apiserver.authentication.impersonation_modes import Impersonation
from kybern.apiserver.authentication.legacy_tokens import ISSUER as LEGACY_ISSUER
from kybern.apiserver.authentication.legacy_tokens import LegacyTokens
from kybern.apiserver.authentication.request_headers import HeaderNames, RequestHeaders
from kybern.apiserver.authentication.service_accounts import ServiceAccountTokens
from kybern.apiserver.authentication.static_tokens import StaticTokens
from kybern.apiserver.authorization.authorizer import (
    AlwaysAllow,
    AlwaysDeny,
    Authorizer,
    Authorizers,
)
from kybern.apiserver.authorization.escalation import EscalationCheck
from kybern.apiserver.authorization.node import NodeAuthorizer
from kybern.apiserver.authorization.node_graph import NodeGraph
from kybern.apiserver.authorization.rbac import RbacAuthorizer
from kybern.apiserver.cache import CacheSet
from kybern.apiserver.config import Config
from kybern.apiserver.lookup import CacheLookup
from kybern.apiserver.loopback import Loopback
from kybern.apiserver.request_info import Attributes, RequestInfo
from kybern.apiserver.reviews import Review, build_reviews
from kybern.apiserver.token_request import TokenRequests
from kybern.apiserver.token_review import TokenReviewer
from kybern.apiserver.tokens import PublicKey, TokenSigner, TokenVerifier, load_public_keys
from kybern.component.client_certificates import ClientCertificates
from kybern.component.clock import Clock
from kybern.component.flags import BadFlag
from kybern.component.http.messages import Request
from kybern.component.pki import generate_key, load_private_key


class Access:
    """Authentication, authorization, admission and the reviews of one server."""

    authorizers: Authorizers
    admission: AdmissionChain
    reviews: Mapping[str, Review]
    token_requests: TokenRequests

    def __init__(
        self,
        config: Config,
        caches: CacheSet,
        registry: Registry,
        clock: Clock,
        gates: Collection[str] = (),
    ) -> None:
        self._config = config
        self._caches = caches
        self._registry = registry
        self._clock = clock
        self._gates = gates
        self.lookup = CacheLookup(caches, registry)
        self._key = _signing_key(config)
        self._header_names = _header_names(config)
        self.token_keys: list[PublicKey] = _verifying_keys(config) or [self._key.public_key()]

    async def start(self, loopback: Loopback) -> None:
        """Load the caches that decisions rest on, and build what decides."""
        for kind in self._registry.kinds():
            if kind.stored:
                await self._caches.cache(kind).start()
        config, clock = self._config, self._clock
        rbac = RbacAuthorizer(self.lookup)
        self.authorizers = Authorizers(self._authorizers(rbac))
        self._impersonation = Impersonation(self.authorizers)
        verifier = TokenVerifier(self.token_keys, config.service_account_issuer, config.audiences)
        accounts = ServiceAccountTokens(verifier, self.lookup, clock, self._caches.catch_up)
        others = self._other_tokens(loopback)
        self._authenticators = Authenticators(
            _certificates(config.client_ca_file, clock),
            [accounts, *others],
            config.anonymous_auth,
            self._request_headers(),
        )
        self.token_requests = TokenRequests(
            TokenSigner(self._key, config.service_account_issuer[0]),
            self.lookup,
            clock,
            audiences=config.audiences,
            longest_seconds=config.service_account_max_token_expiration,
            extend=config.service_account_extend_token_expiration,
        )
        reviewer = TokenReviewer(verifier, accounts, others, config.audiences)
        self.reviews = build_reviews(self.authorizers, rbac, reviewer)
        around = Surroundings(
            config,
            self.lookup,
            clock,
            self._caches,
            self._registry,
            self.authorizers,
            loopback,
            self._gates,
        )
        self.admission = build_chain(around, EscalationCheck(self.authorizers, rbac))

    async def authenticate(self, request: Request, info: RequestInfo) -> UserInfo:
        """Who makes the request, or whom they act as; raises 401 and 403."""
        user = await self._authenticators.authenticate(request)
        request.headers = self._header_names.without(request.headers)
        if impersonates(request):
            return impersonated(request, Attributes.of(user, info), self._impersonation)
        return user

    def _other_tokens(self, loopback: Loopback) -> list[TokenAuthenticator]:
        """All but the bound tokens of service accounts."""
        config, clock = self._config, self._clock
        verifier = TokenVerifier(self.token_keys, [LEGACY_ISSUER], ())
        others: list[TokenAuthenticator] = [LegacyTokens(verifier, self.lookup, clock, loopback)]
        if config.token_auth_file:
            others.append(StaticTokens(Path(config.token_auth_file)))
        if config.enable_bootstrap_token_auth:
            others.append(BootstrapTokens(self.lookup, clock))
        return others

    def _request_headers(self) -> RequestHeaders | None:
        config = self._config
        proxies = _certificates(config.requestheader_client_ca_file, self._clock)
        if proxies is None:
            return None
        return RequestHeaders(proxies, config.requestheader_allowed_names, self._header_names)

    def _authorizers(self, rbac: RbacAuthorizer) -> list[Authorizer]:
        makers: dict[str, Callable[[], Authorizer]] = {
            "AlwaysAllow": AlwaysAllow,
            "AlwaysDeny": AlwaysDeny,
            "Node": lambda: NodeAuthorizer(NodeGraph(self.lookup), self._gates),
            "RBAC": lambda: rbac,
        }
        modes = self._config.authorization_mode
        for mode in modes:
            if mode not in makers:
                raise BadFlag(f'authorization-mode "{mode}" is not a valid mode')
        if len(set(modes)) < len(modes):
            listed = " ".join(f'"{mode}"' for mode in modes)
            raise BadFlag(f"authorization-mode [{listed}] has mode specified more than once")
        if not modes:
            raise BadFlag("at least one authorization-mode must be passed")
        return [makers[mode]() for mode in modes]


def _signing_key(config: Config) -> EllipticCurvePrivateKey:
    path = config.service_account_signing_key_file
    return load_private_key(Path(path).read_bytes()) if path else generate_key()


def _verifying_keys(config: Config) -> list[PublicKey]:
    return [
        key
        for path in config.service_account_key_file
        for key in load_public_keys(Path(path).read_bytes())
    ]


def _certificates(authorities: str, clock: Clock) -> ClientCertificates | None:
    return ClientCertificates(Path(authorities).read_bytes(), clock) if authorities else None


def _header_names(config: Config) -> HeaderNames:
    return HeaderNames(
        _lower(config.requestheader_username_headers),
        _lower(config.requestheader_uid_headers),
        _lower(config.requestheader_group_headers),
        _lower(config.requestheader_extra_headers_prefix),
    )


def _lower(names: tuple[str, ...]) -> list[str]:
    return [name.strip().lower() for name in names]
