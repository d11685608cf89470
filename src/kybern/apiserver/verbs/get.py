"""GET of one object: out of the cache, as the bytes that are stored."""

from kybern.api.errors import bad_request
from kybern.apiserver.call import Call
from kybern.apiserver.responses import object_response
from kybern.component.http.messages import Response


async def get(call: Call) -> Response:
    """The object that the call names. The cache is never older than the client's version."""
    if call.info.params:
        _check_parameters(call)
    served = call.served
    bring = call.services.on_demand.get((served.group, served.version, served.kind.plural))
    if bring is not None:
        await bring(call.namespace, call.info.name)
    cached = call.cache.get(call.key(call.info.name))
    if cached is None:
        raise call.not_found(call.info.name)
    return object_response(call, cached)


def _check_parameters(call: Call) -> None:
    if call.info.flag("export"):
        raise bad_request("the export parameter, deprecated since v1.14, is no longer supported")
    version = call.info.param("resourceVersion")
    if version and not (version.isascii() and version.isdigit()):
        raise bad_request(
            f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: '
            f'parsing "{version}": invalid syntax'
        )
