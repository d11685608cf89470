"""From a classified request to the verb that answers it.

The pipeline asks for resource requests only. Paths of groups that are not served are plain 404
texts, like any unknown path; unknown resources of a served group are a Status.
"""

from collections.abc import Awaitable, Callable

from kybern.api.errors import StatusError, method_not_allowed, no_such_path
from kybern.api.kinds import Kind, Registry, ServedKind
from kybern.apiserver.call import Call
from kybern.apiserver.request_info import RequestInfo
from kybern.apiserver.subresources import binding, subresource_verb
from kybern.apiserver.verbs.create import create
from kybern.apiserver.verbs.delete import delete
from kybern.apiserver.verbs.delete_collection import delete_collection
from kybern.apiserver.verbs.get import get
from kybern.apiserver.verbs.list import list_
from kybern.apiserver.verbs.patch import patch
from kybern.apiserver.verbs.review import review
from kybern.apiserver.verbs.update import update
from kybern.apiserver.verbs.watch import watch
from kybern.component.http.messages import Response

Verb = Callable[[Call], Awaitable[Response]]

COLLECTION_VERBS: dict[str, Verb] = {
    "list": list_,
    "watch": watch,
    "create": create,
    "deletecollection": delete_collection,
}
OBJECT_VERBS: dict[str, Verb] = {
    "get": get,
    "watch": watch,
    "update": update,
    "patch": patch,
    "delete": delete,
}
# What a path without a namespace can do with a namespaced kind.
_ACROSS_NAMESPACES = frozenset({"list", "watch"})


def fitting_kind(served: ServedKind | None, info: RequestInfo) -> ServedKind:
    """The kind that a request names, if it is served under such a path; raises StatusError 404."""
    if served is None or not _scope_fits(served, info):
        raise no_such_path()
    return served


def find_verb(served: ServedKind, info: RequestInfo, method: str) -> Verb:
    """What answers a request for a kind; raises StatusError 404 and 405."""
    if method in ("HEAD", "OPTIONS") and info.subresource != "proxy":
        raise method_not_allowed()
    if info.subresource:
        return subresource_verb(served, info)
    verb = (OBJECT_VERBS if len(info.parts) > 1 else COLLECTION_VERBS).get(info.verb)
    answered = verb is not None and info.verb in served.kind.verbs
    across = served.kind.namespaced and not info.namespace
    misplaced = len(info.parts) > 2 or (across and info.verb not in _ACROSS_NAMESPACES)
    if verb is None or not answered or misplaced:
        raise _refusal(served.kind, info, answered, across)
    if verb is create and not served.kind.stored:
        return binding.create if served.kind.kind == "Binding" else review
    return verb


def _refusal(kind: Kind, info: RequestInfo, answered: bool, across: bool) -> StatusError:
    """404 for a path at which nothing is answered, 405 for one that answers other methods."""
    on_object = len(info.parts) > 1
    verbs = frozenset(kind.verbs)
    if len(info.parts) > 2 or (on_object and verbs.isdisjoint(OBJECT_VERBS)):
        return no_such_path()
    if across and (verbs.isdisjoint(_ACROSS_NAMESPACES) or (on_object and answered)):
        return no_such_path()
    return method_not_allowed()


def _scope_fits(served: ServedKind, info: RequestInfo) -> bool:
    """Whether the path has a namespace only for kinds that live in one."""
    if served.kind.namespaced:
        return True
    return not info.namespace or served.kind.plural == "namespaces"


def unserved_group(registry: Registry, info: RequestInfo) -> bool:
    """Whether the path's group is unknown altogether."""
    return not any(group.name == info.group for group in registry.groups())
