"""POST to a collection: a new object."""

from kybern.api.errors import bad_request
from kybern.apiserver.body import read_object
from kybern.apiserver.call import Call
from kybern.apiserver.creation import (
    drop_duplicate_owners,
    ensure_namespace,
    store_new,
    wipe_system_fields,
)
from kybern.apiserver.field_managers import record_update
from kybern.apiserver.options import write_options
from kybern.apiserver.responses import object_response
from kybern.component.http.messages import Response


async def create(call: Call) -> Response:
    """Store the object in the body under its name or a generated one."""
    options = write_options(call.info, "CreateOptions")
    obj = read_object(call, options)
    metadata = obj["metadata"]
    wipe_system_fields(metadata)
    ensure_namespace(metadata, call.namespace)
    drop_duplicate_owners(call, metadata)
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    new = call.served.to_storage(obj)
    call.info.name = call.info.name or metadata.get("name", "")
    call.stamp(new)
    record_update(call, new, None, options)
    return object_response(call, await store_new(call, new, options), 201)
