"""Speaking as a service account, by bound tokens that are asked for and renewed.

The controller manager gives each controller a client of its own this way, so that RBAC and audit
see which controller does what (upstream's ``--use-service-account-credentials``).
"""

import asyncio
from collections.abc import Mapping

from kybern.api.errors import StatusError
from kybern.api.resources import SERVICE_ACCOUNTS
from kybern.client.client import Client
from kybern.client.transport import Reply, Transport

TOKEN_SECONDS = 3600
RENEW_SHARE = 0.8


class ServiceAccountTransport:
    """A transport that authenticates as ``namespace/name``; ``issuer`` may ask for its tokens.

    The account is created where it is missing. A token is asked for when first needed and renewed
    after most of its life; an answer 401 drops it, so that the next request asks again.
    """

    def __init__(self, issuer: Client, namespace: str, name: str) -> None:
        self._issuer = issuer
        self._namespace = namespace
        self._name = name
        self._inner: Transport | None = None
        self._renew_at = 0.0
        self._lock = asyncio.Lock()

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        inner = await self._authenticated()
        reply = await inner.send(method, path, query, headers, body)
        if reply.status == 401:
            self._renew_at = 0.0
        return reply

    async def _authenticated(self) -> Transport:
        async with self._lock:
            now = self._issuer.clock.time()
            if self._inner is None or now >= self._renew_at:
                token = await self._token()
                previous, self._inner = self._inner, self._issuer.transport.with_token(token)
                self._renew_at = now + RENEW_SHARE * TOKEN_SECONDS
                if previous is not None:
                    await previous.close()
            return self._inner

    async def _token(self) -> str:
        try:
            return await self._request_token()
        except StatusError as error:
            if error.code != 404:
                raise
        await self._create_account()
        return await self._request_token()

    async def _request_token(self) -> str:
        request = {"spec": {"expirationSeconds": TOKEN_SECONDS, "audiences": []}}
        answer = await self._issuer.create(
            SERVICE_ACCOUNTS, request, self._namespace, name=self._name, subresource="token"
        )
        return answer["status"]["token"]

    async def _create_account(self) -> None:
        meta = {"name": self._name, "namespace": self._namespace}
        try:
            await self._issuer.create(SERVICE_ACCOUNTS, {"metadata": meta})
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise

    def with_token(self, token: str) -> Transport:
        return self._issuer.transport.with_token(token)

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()
            self._inner = None
