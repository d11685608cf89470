"""Who makes a request: the identity that authentication finds and authorization judges."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ANONYMOUS = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
MASTERS_GROUP = "system:masters"


@dataclass(frozen=True, slots=True)
class UserInfo:
    """The ``UserInfo`` of authentication.k8s.io: a name, an optional uid, groups and extras."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ADMIN = UserInfo("kubernetes-admin", (MASTERS_GROUP, AUTHENTICATED_GROUP))


def authenticated(user: UserInfo) -> UserInfo:
    """The user with the group that everybody has who is known."""
    if AUTHENTICATED_GROUP in user.groups:
        return user
    return UserInfo(user.name, (*user.groups, AUTHENTICATED_GROUP), user.uid, user.extra)
