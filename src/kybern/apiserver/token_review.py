"""TokenReview: whose token is this, and is it meant for these audiences?"""

from collections.abc import Sequence

from kybern.api.errors import Obj, bad_request
from kybern.api.user import UserInfo
from kybern.apiserver.authentication.authenticator import TokenAuthenticator
from kybern.apiserver.authentication.service_accounts import ServiceAccountTokens
from kybern.apiserver.call import Call
from kybern.apiserver.tokens import InvalidToken, TokenVerifier

_REQUIRED = "token is required for TokenReview in authentication"


class TokenReviewer:
    """Answers by the same authenticators that let requests in."""

    def __init__(
        self,
        verifier: TokenVerifier | None,
        accounts: ServiceAccountTokens | None,
        others: Sequence[TokenAuthenticator],
        audiences: Sequence[str],
    ) -> None:
        self._verifier = verifier
        self._accounts = accounts
        self._others = tuple(others)
        self._audiences = tuple(audiences)

    async def review(self, call: Call, review: Obj) -> Obj:
        spec = review.get("spec") or {}
        token = spec.get("token", "")
        if not token:
            raise bad_request(_REQUIRED)
        wanted = spec.get("audiences") or list(self._audiences)
        return {**review, "status": await self._status(token, wanted)}

    async def _status(self, token: str, wanted: list[str]) -> Obj:
        for authenticator in self._others:
            user = await authenticator.authenticate(token)
            if user is not None:
                common = [audience for audience in wanted if audience in self._audiences]
                if common:
                    return _authenticated(user, common)
        problem = "invalid bearer token"
        if self._verifier is not None and self._accounts is not None:
            claims = self._verifier.claims(token)
            if claims is not None:
                try:
                    audiences = self._verifier.accepted_audiences(claims, wanted)
                    if not audiences:
                        given = claims.get("aud") or []
                        raise InvalidToken(
                            f"token audiences {_words(given)} is invalid for the target audiences "
                            f"{_words(wanted)}"
                        )
                    return _authenticated(self._accounts.user(claims), audiences)
                except InvalidToken as invalid:
                    problem = f"[{problem}, {invalid}]"
        return {"user": {}, "error": problem}


def _authenticated(user: UserInfo, audiences: Sequence[str]) -> Obj:
    found: Obj = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {"authenticated": True, "user": found, "audiences": list(audiences)}


def _words(audiences: str | Sequence[str]) -> str:
    listed = [audiences] if isinstance(audiences, str) else audiences
    return "[" + " ".join(f'"{audience}"' for audience in listed) + "]"
