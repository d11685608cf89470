"""PUT: an object replaced by the one in the body."""

from kybern.api.errors import Obj, bad_request
from kybern.api.objects import copy
from kybern.apiserver.body import read_object
from kybern.apiserver.call import Call
from kybern.apiserver.creation import drop_duplicate_owners, ensure_namespace
from kybern.apiserver.field_managers import record_update
from kybern.apiserver.options import write_options
from kybern.apiserver.replacement import Rules, main_rules, replace
from kybern.apiserver.responses import object_response
from kybern.component.http.messages import Response


async def update(call: Call) -> Response:
    """Replace the resource itself."""
    return await update_by(call, main_rules(call.served))


async def update_by(call: Call, rules: Rules) -> Response:
    """Replace what the rules allow to change."""
    options = write_options(call.info, "UpdateOptions")
    obj = read_object(call, options)
    metadata = obj["metadata"]
    ensure_namespace(metadata, call.namespace)
    check_name(call, metadata)
    check_resource_version(metadata)
    drop_duplicate_owners(call, metadata)
    wanted = call.served.to_storage(obj)

    async def transform(old: Obj | None) -> Obj:
        new = copy(wanted)
        record_update(call, new, old, options)
        return new

    written = await replace(call, transform, options, rules, uid=metadata.get("uid", ""))
    return object_response(call, written.stored, 201 if written.created else 200)


def check_name(call: Call, metadata: Obj) -> None:
    """The name in the body must be the one on the URL."""
    name, found = call.info.name, metadata.get("name", "")
    if not found:
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: "
            "name must be provided"
        )
    if found != name:
        raise bad_request(
            f"the name of the object ({found}) does not match the name on the URL ({name})"
        )


def check_resource_version(metadata: Obj) -> None:
    """A resourceVersion is a number, if it is there."""
    version = metadata.get("resourceVersion", "")
    if version and not (version.isascii() and version.isdigit()):
        raise bad_request(f'strconv.ParseUint: parsing "{version}": invalid syntax')
