"""The server's own writes, through its own pipeline.

Bootstrap and allocation make objects like any client: the same defaults, validation and admission
hold for them. The user is upstream's: ``system:apiserver`` in system:masters.
"""

from collections.abc import Callable

import orjson

from kybern.api.errors import OBJECT_MODIFIED, Obj, StatusError, conflict
from kybern.api.resources import Resource
from kybern.api.user import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from kybern.component.http.messages import Handler, Request

SERVER_USER = UserInfo("system:apiserver", (MASTERS_GROUP, AUTHENTICATED_GROUP))
# Its name in managedFields is upstream's, too.
_USER_AGENT = "kube-apiserver"
_WRITES = frozenset({"POST", "PUT", "PATCH"})
_TRIES = 16


class Loopback:
    """Verbs on the server's own handler; failures are raised as StatusError.

    Writes are in the name of ``field_manager`` where there is one.
    """

    def __init__(self, handler: Handler, field_manager: str = "") -> None:
        self._handler = handler
        self._query = f"fieldManager={field_manager}" if field_manager else ""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """An object, or None if there is none."""
        try:
            return await self._call("GET", resource.path(namespace, name))
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def create(self, resource: Resource, obj: Obj) -> Obj:
        return await self._call("POST", resource.path(_namespace(obj)), obj)

    async def update(self, resource: Resource, obj: Obj, subresource: str = "") -> Obj:
        path = resource.path(_namespace(obj), obj["metadata"]["name"])
        if subresource:
            path += f"/{subresource}"
        return await self._call("PUT", path, obj)

    async def patch(self, resource: Resource, obj: Obj, metadata: Obj) -> Obj:
        """Merge into the metadata of that very object; a successor of its name is a conflict."""
        path = resource.path(_namespace(obj), obj["metadata"]["name"])
        patch = {"metadata": {"uid": obj["metadata"]["uid"], **metadata}}
        return await self._call("PATCH", path, patch, "application/merge-patch+json")

    async def apply(self, resource: Resource, obj: Obj, subresource: str = "") -> Obj:
        """Apply by force; only for a loopback that has a field manager."""
        path = resource.path(_namespace(obj), obj["metadata"]["name"])
        if subresource:
            path += f"/{subresource}"
        named = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        return await self._call("PATCH", path, named, "application/apply-patch+yaml", "force=true")

    async def delete(self, resource: Resource, name: str, namespace: str = "") -> None:
        """Delete; an object that is gone already is no failure."""
        try:
            await self._call("DELETE", resource.path(namespace, name))
        except StatusError as error:
            if error.code != 404:
                raise

    async def ensure(self, resource: Resource, obj: Obj) -> Obj:
        """The stored object of that name, created if there is none."""
        found = await self.get(resource, obj["metadata"]["name"], _namespace(obj))
        if found is not None:
            return found
        try:
            return await self.create(resource, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
        found = await self.get(resource, obj["metadata"]["name"], _namespace(obj))
        return found if found is not None else await self.create(resource, obj)

    async def keep(
        self, resource: Resource, obj: Obj, merge: Callable[[Obj], Obj], subresource: str = ""
    ) -> Obj:
        """The stored object of that name, created if there is none, as ``merge`` wants it.

        Other servers do the same at the same time; what they change first is merged again.
        """
        for _ in range(_TRIES):
            found = await self.ensure(resource, obj)
            merged = merge(found)
            if merged == found:
                return found
            try:
                return await self.update(resource, merged, subresource)
            except StatusError as error:
                if error.code not in (404, 409):
                    raise
        raise conflict(resource.plural, obj["metadata"]["name"], OBJECT_MODIFIED, resource.group)

    async def _call(
        self,
        method: str,
        path: str,
        obj: Obj | None = None,
        media_type: str = "application/json",
        query: str = "",
    ) -> Obj:
        parts = (self._query if method in _WRITES else "", query)
        request = Request(
            method,
            path,
            "&".join(filter(None, parts)),
            {
                "accept": "application/json",
                "content-type": media_type,
                "user-agent": _USER_AGENT,
            },
            orjson.dumps(obj) if obj is not None else b"",
            user=SERVER_USER,
        )
        response = await self._handler(request)
        body = response.body
        if not isinstance(body, bytes):
            body = b"".join([chunk async for chunk in body])
        answer: Obj = orjson.loads(body) if body else {}
        if response.status >= 400:
            raise StatusError.from_status(answer, response.status)
        return answer


def _namespace(obj: Obj) -> str:
    namespace: str = obj["metadata"].get("namespace", "")
    return namespace
