"""DELETE of one object."""

from kybern.apiserver.body import typed_body
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call
from kybern.apiserver.deletion import delete_object
from kybern.apiserver.negotiation import JSON
from kybern.apiserver.options import DeleteOptions, delete_options
from kybern.apiserver.responses import object_response, respond
from kybern.component.http.messages import Response


async def delete(call: Call) -> Response:
    """Delete the object that the call names, or begin to."""
    options = read_options(call)
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
