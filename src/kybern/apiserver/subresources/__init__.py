"""What hangs below an object: its status, its scale, its logs and the doors into it.

Parts of the object itself (status, finalize, approval, resize) are the verbs again under other
rules (``parts.py``); the rest has a file each.
"""

from collections.abc import Awaitable, Callable, Mapping

from kybern.api.errors import bad_request, method_not_allowed, no_such_path
from kybern.api.kinds import ServedKind
from kybern.apiserver.call import Call
from kybern.apiserver.request_info import RequestInfo
from kybern.apiserver.subresources import binding, eviction, parts, proxy, scale, streams, token
from kybern.component.http.messages import Response

Verb = Callable[[Call], Awaitable[Response]]
_Verbs = Mapping[str, Verb]

_OWN: dict[str, _Verbs] = {
    "attach": streams.ATTACH_VERBS,
    "binding": binding.VERBS,
    "eviction": eviction.VERBS,
    "exec": streams.EXEC_VERBS,
    "log": streams.LOG_VERBS,
    "portforward": streams.PORTFORWARD_VERBS,
    "proxy": proxy.VERBS,
    "scale": scale.VERBS,
    "token": token.VERBS,
}
# What goes through to somebody else cannot be tried out.
_CONNECTIONS = frozenset({"attach", "exec", "portforward", "proxy"})


def subresource_verb(served: ServedKind, info: RequestInfo) -> Verb:
    """What answers a request for a subresource; raises StatusError 400, 404, 405."""
    declared = served.subresource(info.subresource)
    if declared is None:
        raise no_such_path()
    if info.subresource in _CONNECTIONS and "dryRun" in info.params:
        raise bad_request("dryRun is not supported")
    verbs = _OWN.get(info.subresource, parts.VERBS)
    if info.subresource == "proxy" and not info.verb:
        return proxy.proxy
    verb = verbs.get(info.verb)
    if verb is None or info.verb not in declared.verbs:
        raise method_not_allowed()
    if len(info.parts) > 3 and info.subresource != "proxy":
        raise no_such_path()
    return verb


__all__ = ["subresource_verb"]
