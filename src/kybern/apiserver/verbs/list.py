"""LIST: a collection, or the part of it that the selectors and the page allow."""

from kybern.api.errors import Obj
from kybern.apiserver.cache import Listing
from kybern.apiserver.call import Call
from kybern.apiserver.options import ListOptions, list_options
from kybern.apiserver.responses import list_response
from kybern.component.http.messages import Response


def prefix(call: Call) -> str:
    """What the store keys of the call's collection start with."""
    root = call.kind.resource_prefix
    return f"{root}/{call.namespace}/" if call.namespace else f"{root}/"


async def read(call: Call, options: ListOptions) -> Listing:
    """The objects that the options select; raises StatusError 400 and 410."""
    return await call.cache.list(
        prefix(call),
        selector=options.labels,
        fields=options.fields,
        resource_version=options.resource_version,
        match=options.match,
        limit=options.limit,
        continue_token=options.continue_token,
    )


def list_metadata(listing: Listing) -> Obj:
    """``metadata`` of the List object."""
    metadata: Obj = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        metadata["continue"] = listing.continue_token
    if listing.remaining:
        metadata["remainingItemCount"] = listing.remaining
    return metadata


async def list_(call: Call) -> Response:
    """A page of the collection."""
    options = list_options(call.info, call.served)
    listing = await read(call, options)
    return list_response(call, listing.items, list_metadata(listing))
