"""``serviceaccounts/token``: a bound token for a service account."""

from kybern.api import managed_fields
from kybern.api.errors import method_not_allowed
from kybern.api.managed_fields.field_set import EMPTY
from kybern.apiserver.body import read_kind
from kybern.apiserver.call import Call
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.field_managers import manager_of
from kybern.apiserver.options import write_options
from kybern.apiserver.responses import respond
from kybern.apiserver.token_request import DEFAULT_SECONDS
from kybern.component.http.messages import Response

_GROUP = "authentication.k8s.io"


async def create(call: Call) -> Response:
    """Answer the TokenRequest in the body."""
    options = write_options(call.info, "CreateOptions")
    schema = call.services.schema(_GROUP, "v1", "TokenRequest")
    request = read_kind(call, schema, _GROUP, "v1", "TokenRequest", options)
    ensure_namespace(request["metadata"], call.namespace)
    attributes = call.attributes("CREATE", request, None, options, options.dry_run)
    await call.services.admission.admit(attributes)
    await call.services.admission.validate(attributes)
    sign = call.services.token_requests
    if sign is None:
        raise method_not_allowed()
    # What clients say of the lifetime is theirs; audiences and the status are the server's.
    request.pop("status", None)
    spec = request["spec"] = request.get("spec") or {}
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = DEFAULT_SECONDS
    managed_fields.track(
        None,
        request,
        schema=schema,
        manager=manager_of(call, options),
        api_version=schema.api_version,
        now=call.services.clock.timestamp(),
        subresource="token",
        ignored=EMPTY,
    )
    answer = await sign(call, call.info.name, request)
    return respond(answer, 201, call.output)


VERBS = {"create": create}
