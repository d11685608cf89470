"""Who may act as whom: upstream's constrained modes (KEP-5284), and the one from before them.

A constrained mode concerns one sort of user and asks twice: may the requester make this very
request under the mode (``impersonate-on:MODE:VERB``), and may they take on each part of the
identity (``impersonate:MODE``)? The old mode only asks for ``impersonate`` on each part and then
lets any request through. What no mode allows is refused with the first mode's words.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kybern.api.errors import StatusError, invalid_value
from kybern.api.user import (
    ANONYMOUS,
    AUTHENTICATED_GROUP,
    MASTERS_GROUP,
    UNAUTHENTICATED_GROUP,
    UserInfo,
)
from kybern.api.validation.names import is_dns1123_subdomain, is_http_path
from kybern.apiserver.authentication.groups import service_account_groups, split_service_account
from kybern.apiserver.authorization.authorizer import Authorizers, forbidden_request
from kybern.apiserver.request_info import Attributes

_AUTHENTICATION = "authentication.k8s.io"
_NODE_PREFIX = "system:node:"
_NODES = ("system:nodes",)
_NODE_NAME = "authentication.kubernetes.io/node-name"
_NODE_KEYS = "authentication.kubernetes.io/associated-node-keys"
# From this many parts of one sort on, the right to all of them is asked for first.
_MANY = 4
_MOST_REMEMBERED = 10_000


class Impersonation:
    """Tries the modes; the one by which a requester last succeeded comes first, in a bounded table.

    So the right of old costs one check, and its users read its refusals.
    """

    def __init__(self, authorizers: Authorizers) -> None:
        self._authorizers = authorizers
        self._last: dict[str, _Mode] = {}

    def act_as(self, wanted: UserInfo, attributes: Attributes) -> UserInfo:
        """The identity that the request is made under; raises 403."""
        first: StatusError | None = None
        requester = attributes.user
        last = self._last.get(requester.name)
        for mode in sorted(_MODES, key=lambda mode: mode is not last):
            if not mode.concerns(wanted, requester):
                continue
            try:
                acting = mode.allow(wanted, attributes, self._authorizers)
            except StatusError as refusal:
                first = first or refusal
                continue
            if len(self._last) >= _MOST_REMEMBERED:
                self._last.clear()
            self._last[requester.name] = mode
            return acting
        assert first is not None, "the last mode concerns everybody"
        raise first


@dataclass(frozen=True)
class _Mode:
    """One way; ``name`` is empty for the old one."""

    name: str
    concerns: Callable[[UserInfo, UserInfo], bool]

    def allow(self, wanted: UserInfo, attributes: Attributes, authorizers: Authorizers) -> UserInfo:
        requester = attributes.user
        if self.name == "associated-node":
            # Node agents of all nodes are asked about alike: without what tells them apart.
            keys = tuple(sorted(requester.extra))
            requester = replace(requester, extra={_NODE_KEYS: keys})
        if self.name:
            verb = f"impersonate-on:{self.name}:{attributes.verb}"
            _check(authorizers, replace(attributes, user=requester, verb=verb))
        for part in self._parts(wanted, requester):
            _check(authorizers, part)
        self._groups(wanted, requester, authorizers)
        self._extra(wanted, requester, authorizers)
        return _completed(wanted, bool(self.name))

    def _parts(self, wanted: UserInfo, requester: UserInfo) -> Iterator[Attributes]:
        """The name and the uid."""
        account, node = split_service_account(wanted.name), _node(wanted.name)
        name = self._asked(requester, "users", wanted.name)
        if account is not None:
            name = replace(name, resource="serviceaccounts", namespace=account[0], name=account[1])
        elif node and self.name:
            every = self.name == "associated-node"
            name = replace(name, resource="nodes", name="*" if every else node)
        yield name
        if wanted.uid:
            yield replace(self._asked(requester, "uids", wanted.uid), group=_AUTHENTICATION)

    def _groups(self, wanted: UserInfo, requester: UserInfo, authorizers: Authorizers) -> None:
        asked = self._asked(requester, "groups", "")
        if self.name and MASTERS_GROUP in wanted.groups:
            raise forbidden_request(
                replace(asked, name=MASTERS_GROUP),
                "impersonating the system:masters group is not allowed",
            )
        many = bool(self.name) and len(wanted.groups) >= _MANY
        if many and authorizers.decide(replace(asked, name="*")).allowed:
            return
        for group in wanted.groups:
            _check(authorizers, replace(asked, name=group))

    def _extra(self, wanted: UserInfo, requester: UserInfo, authorizers: Authorizers) -> None:
        asked = replace(self._asked(requester, "userextras", ""), group=_AUTHENTICATION)
        pairs = [(key, value) for key, values in wanted.extra.items() for value in values]
        if self.name:
            problem = next(filter(None, map(_key_problem, wanted.extra)), "")
            if problem:
                raise forbidden_request(asked, problem)
        many = bool(self.name) and len(pairs) >= _MANY
        if many and authorizers.decide(replace(asked, subresource="*", name="*")).allowed:
            return
        for key, value in pairs:
            _check(authorizers, replace(asked, subresource=key, name=value))

    def _asked(self, requester: UserInfo, resource: str, name: str) -> Attributes:
        return Attributes(
            requester,
            f"impersonate:{self.name}" if self.name else "impersonate",
            group=_AUTHENTICATION if self.name else "",
            version="v1",
            resource=resource,
            name=name,
        )


def _only_name(wanted: UserInfo) -> bool:
    return not (wanted.uid or wanted.groups or wanted.extra)


def _node(user_name: str) -> str:
    """The node that a user is; empty for others."""
    name = user_name.removeprefix(_NODE_PREFIX)
    return "" if name == user_name or is_dns1123_subdomain(name) else name


def _own_node(wanted: UserInfo, requester: UserInfo) -> bool:
    """Whether a pod's account wants to be the node that the pod runs on."""
    node = _node(wanted.name)
    return (
        bool(node)
        and _only_name(wanted)
        and split_service_account(requester.name) is not None
        and requester.extra.get(_NODE_NAME) == (node,)
    )


_MODES = (
    _Mode("associated-node", _own_node),
    _Mode("arbitrary-node", lambda wanted, _: bool(_node(wanted.name)) and _only_name(wanted)),
    _Mode(
        "serviceaccount",
        lambda wanted, _: split_service_account(wanted.name) is not None and _only_name(wanted),
    ),
    _Mode(
        "user-info",
        lambda wanted, _: not _node(wanted.name) and split_service_account(wanted.name) is None,
    ),
    _Mode("", lambda wanted, _: True),
)


def _check(authorizers: Authorizers, attributes: Attributes) -> None:
    decision = authorizers.decide(attributes)
    if not decision.allowed:
        raise forbidden_request(attributes, decision.reason)


def _completed(wanted: UserInfo, constrained: bool) -> UserInfo:
    """The identity with the groups that go without saying."""
    groups = wanted.groups
    account = split_service_account(wanted.name)
    if account is not None and not groups:
        groups = service_account_groups(account[0])
    elif constrained and _node(wanted.name):
        groups = _NODES
    implied = UNAUTHENTICATED_GROUP if wanted.name == ANONYMOUS else AUTHENTICATED_GROUP
    if implied not in groups and UNAUTHENTICATED_GROUP not in groups:
        groups = (*groups, implied)
    return replace(wanted, groups=groups)


def _key_problem(key: str) -> str:
    """What a constrained mode has against the key of an extra; empty if nothing."""
    field = "extra.key"
    host, slash, path = key.partition("/")
    if not key:
        return "impersonating the empty string key in extra is not allowed"
    if not (host and slash and path):
        why = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors = [invalid_value(field, key, why)]
    else:
        errors = [invalid_value(field, host, why) for why in is_dns1123_subdomain(host)]
        errors += [invalid_value(field, path, why) for why in is_http_path(path)]
    if errors:
        texts = [str(error) for error in errors]
        listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        return f"impersonating an invalid key in extra is not allowed: {listed}"
    if key != key.lower():
        return f'impersonating a non-lowercase key in extra is not allowed: "{key}"'
    return ""
