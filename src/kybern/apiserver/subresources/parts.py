"""Subresources that are a part of the object: the verbs under the rules of that part."""

from kybern.apiserver.call import Call
from kybern.apiserver.replacement import subresource_rules
from kybern.apiserver.verbs.get import get
from kybern.apiserver.verbs.patch import patch_by
from kybern.apiserver.verbs.update import update_by
from kybern.component.http.messages import Response


async def update(call: Call) -> Response:
    """PUT of a part: the rest of the body is ignored."""
    return await update_by(call, subresource_rules(call.served, call.info.subresource))


async def patch(call: Call) -> Response:
    """PATCH of a part."""
    return await patch_by(call, subresource_rules(call.served, call.info.subresource))


VERBS = {"get": get, "update": update, "patch": patch}
