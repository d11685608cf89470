"""Acting as someone else: the Impersonate headers, and who may use them.

Each part that is taken on (user or service account, groups, uid, extras) needs the verb
``impersonate`` on a resource of its own.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from kybern.api.errors import StatusError, bad_request
from kybern.api.user import (
    ANONYMOUS,
    AUTHENTICATED_GROUP,
    UNAUTHENTICATED_GROUP,
    UserInfo,
)
from kybern.apiserver.authentication.groups import service_account_groups, split_service_account
from kybern.apiserver.authorization.authorizer import Authorizers, forbidden_request
from kybern.apiserver.request_info import Attributes
from kybern.component.http.messages import Request

_USER = "impersonate-user"
_GROUP = "impersonate-group"
_UID = "impersonate-uid"
_EXTRA_PREFIX = "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"


def impersonates(request: Request) -> bool:
    return any(name.startswith("impersonate-") for name in request.headers)


async def impersonated(request: Request, user: UserInfo, authorizers: Authorizers) -> UserInfo:
    """The user that the request acts as; raises 403 if ``user`` may not."""
    headers = request.headers
    name = headers.get(_USER, "")
    groups = _values(headers.get(_GROUP, ""))
    uid = headers.get(_UID, "")
    extra = {
        unquote(header[len(_EXTRA_PREFIX) :]): tuple(_values(value))
        for header, value in headers.items()
        if header.startswith(_EXTRA_PREFIX)
    }
    if not name:
        if groups or uid or extra:
            raise _nobody(uid, groups, extra)
        return user
    account = split_service_account(name)
    wanted = [_identity(user, name, account)]
    wanted += [Attributes(user, "impersonate", resource="groups", name=g) for g in groups]
    wanted += [
        Attributes(
            user,
            "impersonate",
            group=_AUTHENTICATION,
            version="v1",
            resource="userextras",
            subresource=key,
            name=value,
        )
        for key, values in extra.items()
        for value in values
    ]
    if uid:
        wanted.append(
            Attributes(
                user, "impersonate", group=_AUTHENTICATION, version="v1", resource="uids", name=uid
            )
        )
    for attributes in wanted:
        decision = await authorizers.authorize(attributes)
        if not decision.allowed:
            raise forbidden_request(attributes, decision.reason)
    if account is not None and not groups:
        groups = list(service_account_groups(account[0]))
    return UserInfo(name, _with_implied_group(name, groups), uid, extra)


def _nobody(uid: str, groups: Sequence[str], extra: Mapping[str, Sequence[str]]) -> StatusError:
    """The 400 of headers that name everything but a user, printed as Go prints the identity."""

    def words(values: Sequence[str]) -> str:
        return "{" + ", ".join(f'"{value}"' for value in values) + "}" if values else "(nil)"

    keys = ", ".join(f'"{key}":[]string{words(extra[key])}' for key in sorted(extra))
    extras = "{" + keys + "}" if extra else "(nil)"
    return bad_request(
        f'requested &user.DefaultInfo{{Name:"", UID:"{uid}", Groups:[]string{words(groups)}, '
        f"Extra:map[string][]string{extras}}} without impersonating a user name"
    )


def _identity(user: UserInfo, name: str, account: tuple[str, str] | None) -> Attributes:
    if account is None:
        return Attributes(user, "impersonate", resource="users", name=name)
    namespace, account_name = account
    return Attributes(
        user, "impersonate", resource="serviceaccounts", namespace=namespace, name=account_name
    )


def _with_implied_group(name: str, groups: list[str]) -> tuple[str, ...]:
    if AUTHENTICATED_GROUP in groups or UNAUTHENTICATED_GROUP in groups:
        return tuple(groups)
    implied = UNAUTHENTICATED_GROUP if name == ANONYMOUS else AUTHENTICATED_GROUP
    return (*groups, implied)


def _values(header: str) -> list[str]:
    """Repeated headers arrive joined by line breaks, because a group's name may hold a comma."""
    return [value.strip() for value in header.split("\n") if value.strip()]
