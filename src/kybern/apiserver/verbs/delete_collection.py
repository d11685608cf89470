"""DELETE of a collection: every object that the selectors match, one after the other."""

from kybern.api.errors import StatusError
from kybern.apiserver.call import Call
from kybern.apiserver.deletion import delete_object
from kybern.apiserver.options import list_options
from kybern.apiserver.responses import list_response
from kybern.apiserver.verbs.delete import read_options
from kybern.apiserver.verbs.list import list_metadata, read
from kybern.component.http.messages import Response


async def delete_collection(call: Call) -> Response:
    """Delete what a LIST with the same selectors shows, and answer with that list.

    Not atomic: an error ends it half way. Objects that others deleted meanwhile are no error.
    """
    selected = list_options(call.info, call.served)
    options = read_options(call)
    listing = await read(call, selected)
    namespace = call.info.namespace
    for item in listing.items:
        if not namespace and call.kind.namespaced:
            call.info.namespace = item.key.rsplit("/", 2)[1]
        try:
            await delete_object(call, item.key.rsplit("/", 1)[1], options)
        except StatusError as error:
            if error.code != 404:
                raise
        finally:
            call.info.namespace = namespace
    return list_response(call, listing.items, list_metadata(listing))
