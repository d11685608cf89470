"""The chain of authorizers: the first that allows a request decides.

The pipeline calls :meth:`Authorizers.authorize` with the classified request and turns a refusal
into the error that :func:`forbidden_request` builds.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from kybern.api.errors import Obj, StatusError
from kybern.api.user import MASTERS_GROUP
from kybern.apiserver.request_info import Attributes


class Decision(NamedTuple):
    """``reason`` says why, for reviews and for the error; it may be empty."""

    allowed: bool
    reason: str = ""


ALLOWED = Decision(True)
NO_OPINION = Decision(False)


class Authorizer(Protocol):
    """One way to judge. Judging is a matter of memory only, so it never waits."""

    def decide(self, attributes: Attributes) -> Decision:
        """Allow, or have no opinion."""
        ...


class AlwaysAllow:
    """Everybody may do anything."""

    def decide(self, attributes: Attributes) -> Decision:
        return ALLOWED


class AlwaysDeny:
    """Nobody may do anything that no other authorizer allows."""

    def decide(self, attributes: Attributes) -> Decision:
        return Decision(False, "Everything is forbidden.")


class Authorizers:
    """Members of system:masters may do anything; others what one of the authorizers allows."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, attributes: Attributes) -> Decision:
        return self.decide(attributes)

    def decide(self, attributes: Attributes) -> Decision:
        if MASTERS_GROUP in attributes.user.groups:
            return ALLOWED
        reasons = []
        for authorizer in self._authorizers:
            decision = authorizer.decide(attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons)) if reasons else NO_OPINION


def forbidden_request(attributes: Attributes, reason: str) -> StatusError:
    """The 403 of a request that nobody allowed."""
    why = _refusal(attributes)
    if reason:
        why = f"{why}: {reason}"
    if not attributes.is_resource_request:
        return StatusError(403, "Forbidden", f"forbidden: {why}", {})
    resource = attributes.resource
    qualified = f"{resource}.{attributes.group}" if attributes.group else resource
    what = f'{qualified} "{attributes.name}"' if attributes.name else qualified
    details: Obj = {"name": attributes.name} if attributes.name else {}
    if attributes.group:
        details["group"] = attributes.group
    details["kind"] = resource
    return StatusError(403, "Forbidden", f"{what} is forbidden: {why}", details)


def _refusal(attributes: Attributes) -> str:
    who = f'User "{attributes.user.name}" cannot {attributes.verb}'
    if not attributes.is_resource_request:
        return f'{who} path "{attributes.path}"'
    resource = attributes.resource
    if attributes.subresource:
        resource += f"/{attributes.subresource}"
    where = (
        f'in the namespace "{attributes.namespace}"'
        if attributes.namespace
        else "at the cluster scope"
    )
    return f'{who} resource "{resource}" in API group "{attributes.group}" {where}'
