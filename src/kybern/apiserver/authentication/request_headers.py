"""``--requestheader-*``: a proxy that we trust by its certificate says who makes the request.

An aggregating API server, or an authenticating proxy before this one, presents a certificate of
its own authority and names the user in headers. The headers count only then, and they go no
further in any case: they are taken off before a request can be passed on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import unquote

from kybern.api.user import UserInfo, authenticated
from kybern.component.client_certificates import ClientCertificates
from kybern.component.http.messages import Request

# How many combinations of header names are kept with what was found among them.
REMEMBERED_NAMES = 512


@dataclass(frozen=True)
class HeaderNames:
    """Which headers carry what; each list is looked through in order. All in lower case."""

    users: Sequence[str]
    uids: Sequence[str]
    groups: Sequence[str]
    extra_prefixes: Sequence[str]

    def without(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """All other headers, which may be passed on."""
        ours = self._among(tuple(headers))
        return {k: value for k, value in headers.items() if k not in ours} if ours else headers

    @cached_property
    def _among(self) -> Callable[[tuple[str, ...]], frozenset[str]]:
        """Which names are ours; clients send the same ones again and again."""
        exact = frozenset((*self.users, *self.uids, *self.groups))
        prefixes = tuple(self.extra_prefixes)

        @lru_cache(maxsize=REMEMBERED_NAMES)
        def among(names: tuple[str, ...]) -> frozenset[str]:
            return frozenset(n for n in names if n in exact or n.startswith(prefixes))

        return among


class RequestHeaders:
    """Believes proxies whose certificates ``proxies`` knows; ``allowed`` names them, if any."""

    def __init__(
        self, proxies: ClientCertificates, allowed: Sequence[str], names: HeaderNames
    ) -> None:
        self._proxies = proxies
        self._allowed = frozenset(allowed)
        self._names = names

    def user(self, request: Request) -> UserInfo | None:
        """Whom the proxy names; None where no trusted proxy names anybody."""
        headers, names = request.headers, self._names
        name = next((headers[user] for user in names.users if headers.get(user)), "")
        # Hardly any request comes through a proxy: its certificate is looked at last.
        if not name or request.peer_certificate is None:
            return None
        proxy = self._proxies.user(request.peer_certificate)
        if proxy is None or (self._allowed and proxy.name not in self._allowed):
            return None
        uid = next((headers[key] for key in names.uids if headers.get(key)), "")
        groups = [value for key in names.groups for value in _values(headers.get(key, ""))]
        return authenticated(UserInfo(name, tuple(groups), uid, self._extra(headers)))

    def _extra(self, headers: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        extra: dict[str, tuple[str, ...]] = {}
        for prefix in self._names.extra_prefixes:
            for header, value in headers.items():
                if header.startswith(prefix):
                    key = unquote(header[len(prefix) :])
                    extra[key] = (*extra.get(key, ()), *_values(value))
        return extra


def _values(header: str) -> list[str]:
    """Repeated headers arrive joined by line breaks, because a group's name may hold a comma."""
    return [value for value in header.split("\n") if value]
