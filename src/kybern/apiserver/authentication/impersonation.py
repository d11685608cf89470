"""Acting as someone else: the Impersonate headers.

The pipeline calls :func:`impersonated` after authentication. Who may do it is decided by the modes
(``impersonation_modes.py``): the first that allows it decides as whom the request is made.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote

from kybern.api.errors import StatusError, bad_request
from kybern.api.user import UserInfo
from kybern.apiserver.authentication.impersonation_modes import Impersonation
from kybern.apiserver.authentication.request_headers import REMEMBERED_NAMES
from kybern.apiserver.request_info import Attributes
from kybern.component.http.messages import Request

_PREFIX = "impersonate-"
_USER = "impersonate-user"
_GROUP = "impersonate-group"
_UID = "impersonate-uid"
_EXTRA_PREFIX = "impersonate-extra-"


def impersonates(request: Request) -> bool:
    return _occurs_in(tuple(request.headers))


@lru_cache(maxsize=REMEMBERED_NAMES)
def _occurs_in(names: tuple[str, ...]) -> bool:
    return any(name.startswith(_PREFIX) for name in names)


def impersonated(
    request: Request, attributes: Attributes, impersonation: Impersonation
) -> UserInfo:
    """The user that the request acts as; raises 403 if the one in ``attributes`` may not.

    The headers are taken off, so that nothing behind sees them.
    """
    headers = request.headers
    request.headers = {k: value for k, value in headers.items() if not k.startswith(_PREFIX)}
    extra = {
        unquote(header[len(_EXTRA_PREFIX) :]): tuple(_values(value))
        for header, value in headers.items()
        if header.startswith(_EXTRA_PREFIX)
    }
    groups = tuple(_values(headers.get(_GROUP, "")))
    wanted = UserInfo(headers.get(_USER, ""), groups, headers.get(_UID, ""), extra)
    if wanted.name:
        return impersonation.act_as(wanted, attributes)
    if groups or wanted.uid or extra:
        raise _nobody(wanted.uid, groups, extra)
    return attributes.user


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


def _values(header: str) -> list[str]:
    """Repeated headers arrive joined by line breaks, because a group's name may hold a comma."""
    return [value.strip() for value in header.split("\n") if value.strip()]
