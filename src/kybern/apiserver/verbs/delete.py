"""DELETE of one object."""

from kybern.apiserver.body import typed_body
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call
from kybern.apiserver.deletion import delete_object
from kybern.apiserver.negotiation import JSON
from kybern.apiserver.options import DeleteOptions, delete_options
from kybern.apiserver.responses import object_response, respond
from kybern.component.http.messages import Response

_PODS_STAY = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background "
    "to remove them or set propagationPolicy=Orphan to suppress this warning"
)


def _orphans_by_default(call: Call, options: DeleteOptions) -> bool:
    """Whether a job's pods stay without the client having said so."""
    unsaid = options.propagation_policy is None and options.orphan_dependents is None
    return unsaid and call.kind.plural == "jobs" and call.kind.group == "batch"


async def delete(call: Call) -> Response:
    """Delete the object that the call names, or begin to."""
    options = read_options(call)
    if _orphans_by_default(call, options):
        call.warn(_PODS_STAY)
    result, gone = await delete_object(call, call.info.name, options)
    status = 202 if not gone and options.orphan_dependents is False else 200
    if not isinstance(result, CachedObject) and result.get("kind") == "Status":
        return respond(result, status, call.output)
    return object_response(call, result, status)


def read_options(call: Call) -> DeleteOptions:
    """DeleteOptions from the body, or else the query."""
    if not call.request.body:
        return delete_options(call.info, b"", JSON)
    return delete_options(call.info, *typed_body(call))
