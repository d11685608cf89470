"""The chain of authenticators: trusted proxy, certificate, bearer token, then anonymous.

A credential that is presented and fails is answered 401, unless another one succeeds; nobody is
taken for anonymous because of a wrong credential. In-process callers vouch for their user.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Protocol

from kybern.api.errors import unauthorized
from kybern.api.user import ANONYMOUS, UNAUTHENTICATED_GROUP, UserInfo
from kybern.apiserver.authentication.request_headers import RequestHeaders
from kybern.component.client_certificates import ClientCertificates
from kybern.component.http.messages import Request

_ANONYMOUS_USER = UserInfo(ANONYMOUS, (UNAUTHENTICATED_GROUP,))
# kubectl and browsers cannot set headers on a WebSocket; they pass the token as a subprotocol.
WEBSOCKET_TOKEN_PREFIX = "base64url.bearer.authorization.k8s.io."


class TokenAuthenticator(Protocol):
    """One way to understand a bearer token."""

    async def authenticate(self, token: str) -> UserInfo | None:
        """The token's user; None if the token is not valid, or not of this kind."""
        ...


class Authenticators:
    """All ways in. Users come out with ``system:authenticated`` among their groups."""

    def __init__(
        self,
        certificates: ClientCertificates | None,
        tokens: Sequence[TokenAuthenticator],
        anonymous: bool = True,
        request_headers: RequestHeaders | None = None,
    ) -> None:
        self._certificates = certificates
        self._tokens = tuple(tokens)
        self._anonymous = anonymous
        self._request_headers = request_headers

    async def authenticate(self, request: Request) -> UserInfo:
        """The request's user; raises 401."""
        if request.user is not None:
            return request.user
        failed = False
        if self._request_headers is not None:
            user = self._request_headers.user(request)
            if user is not None:
                return user
        if request.peer_certificate is not None and self._certificates is not None:
            user = self._certificates.user(request.peer_certificate)
            if user is not None:
                return user
            failed = True
        token = bearer_token(request)
        if token:
            for authenticator in self._tokens:
                found = await authenticator.authenticate(token)
                if found is not None:
                    return found
            failed = True
        if failed or not self._anonymous:
            raise unauthorized()
        return _ANONYMOUS_USER


def bearer_token(request: Request) -> str:
    """The token of the Authorization header, or of the WebSocket subprotocol."""
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return _websocket_token(request)


def _websocket_token(request: Request) -> str:
    if request.headers.get("upgrade", "").lower() != "websocket":
        return ""
    for protocol in request.headers.get("sec-websocket-protocol", "").split(","):
        name = protocol.strip()
        if name.startswith(WEBSOCKET_TOKEN_PREFIX):
            return _decode_base64url(name[len(WEBSOCKET_TOKEN_PREFIX) :])
    return ""


def _decode_base64url(text: str) -> str:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.urlsafe_b64decode(padded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
