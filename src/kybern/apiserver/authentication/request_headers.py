"""``--requestheader-*``: a proxy that we trust by its certificate says who makes the request.

An aggregating API server, or an authenticating proxy before this one, presents a certificate of
its own authority and names the user in headers. The headers count only then, and they go no
further in any case: they are taken off before a request can be passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from kybern.api.user import UserInfo, authenticated
from kybern.component.client_certificates import ClientCertificates
from kybern.component.http.messages import Request


@dataclass(frozen=True)
class HeaderNames:
    """Which headers carry what; each list is looked through in order. All in lower case."""

    users: Sequence[str]
    uids: Sequence[str]
    groups: Sequence[str]
    extra_prefixes: Sequence[str]

    def without(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """All other headers, which may be passed on."""
        prefixes = self._prefixes
        if self._names.isdisjoint(headers) and not any(n.startswith(prefixes) for n in headers):
            return headers
        return {
            name: value
            for name, value in headers.items()
            if name not in self._names and not name.startswith(prefixes)
        }

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset((*self.users, *self.uids, *self.groups))

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(self.extra_prefixes)


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
