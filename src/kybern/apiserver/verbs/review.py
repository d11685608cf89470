"""POST of a question: reviews are answered, not stored."""

from kybern.api.errors import method_not_allowed
from kybern.apiserver.body import read_object
from kybern.apiserver.call import Call
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.field_managers import record_update
from kybern.apiserver.options import write_options
from kybern.apiserver.responses import object_response
from kybern.component.http.messages import Response


async def review(call: Call) -> Response:
    """The object in the body with its status filled in."""
    answer = call.services.reviews.get(call.kind.kind)
    if answer is None:
        raise method_not_allowed()
    options = write_options(call.info, "CreateOptions")
    obj = read_object(call, options)
    ensure_namespace(obj["metadata"], call.namespace)
    record_update(call, obj, None, options)
    attributes = call.attributes("CREATE", obj, None, options, options.dry_run)
    await call.services.admission.admit(attributes)
    await call.services.admission.validate(attributes)
    return object_response(call, await answer(call, obj), 201)
