"""The API's verbs for components: one method a verb, plain dicts in and out.

Failures are :class:`kybern.api.errors.StatusError` with the server's reason, or
:class:`ApiUnreachable`. Answers that carry Retry-After are tried again a bounded number of times,
as client-go does.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import Resource
from kybern.api.user import UserInfo
from kybern.client.transport import (
    ApiUnreachable,
    InProcessTransport,
    Reply,
    Transport,
    encode_query,
)
from kybern.component.clock import Clock
from kybern.component.http.messages import Handler
from kybern.component.kubeconfig import Access, in_cluster_access, load_access

if TYPE_CHECKING:
    import aiohttp

    from kybern.client.https import HttpsTransport

PAGE_SIZE = 500
RETRY_AFTER_TRIES = 10
SERVES_PAUSE_SECONDS = 1.0
PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
Objects = list[Obj]
PatchKind = Literal["json", "merge", "strategic", "apply"]


@dataclass(slots=True)
class ClientResponse:
    """The raw answer to :meth:`Client.request`, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """Speaks to one API server with one identity."""

    def __init__(self, transport: Transport, clock: Clock, user_agent: str = "kybern") -> None:
        self.transport = transport
        self.clock = clock
        self.user_agent = user_agent

    @classmethod
    def in_process(
        cls, handler: Handler, user: UserInfo, clock: Clock, user_agent: str = "kybern"
    ) -> "Client":
        """A client that calls an API server of this process."""
        return cls(InProcessTransport(handler, user), clock, user_agent)

    @classmethod
    def from_access(cls, access: Access, clock: Clock, user_agent: str = "kybern") -> "Client":
        """A client for a server and credentials that were read elsewhere."""
        from kybern.client.https import HttpsTransport

        return cls(HttpsTransport(access), clock, user_agent)

    @classmethod
    def from_kubeconfig(
        cls, path: str, clock: Clock, context: str = "", user_agent: str = "kybern"
    ) -> "Client":
        """A client for a kubeconfig's current (or named) context; raises ValueError, OSError."""
        return cls.from_access(load_access(path, context), clock, user_agent)

    @classmethod
    def in_cluster(cls, clock: Clock, user_agent: str = "kybern") -> "Client":
        """A client for a pod: the mounted service account and the environment say where."""
        return cls.from_access(in_cluster_access(), clock, user_agent)

    async def close(self) -> None:
        await self.transport.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | Obj | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientResponse:
        """Any request; never raises for a status."""
        reply = await self.open(method, path, query=query, body=body, headers=headers)
        async with reply:
            return ClientResponse(reply.status, reply.headers, await reply.read())

    async def serves(self, resource: Resource) -> bool:
        """Whether the server has a resource; asks again while it is away or not ready."""
        version = resource.api_version
        path = f"/apis/{version}" if resource.group else f"/api/{version}"
        while True:
            try:
                answer = await self.request("GET", path)
            except ApiUnreachable:
                pass
            else:
                if answer.status < 300:
                    entries = answer.json().get("resources") or ()
                    return any(entry["name"] == resource.plural for entry in entries)
                if answer.status < 500 and answer.status != 429:
                    return False
            await asyncio.sleep(SERVES_PAUSE_SECONDS)

    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | Obj | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Any request, its body as a stream: logs, watches. Close the reply."""
        sent = {"user-agent": self.user_agent, "accept": "application/json"}
        payload = b""
        if body is not None:
            sent["content-type"] = "application/json"
            payload = body if isinstance(body, bytes) else orjson.dumps(body)
        if headers:
            sent.update((name.lower(), value) for name, value in headers.items())
        return await self.transport.send(method, path, encode_query(query), sent, payload)

    async def websocket(
        self, path: str, query: str, protocols: Sequence[str]
    ) -> "aiohttp.ClientWebSocketResponse":
        """A WebSocket to a streaming subresource; over HTTPS only."""
        return await self._https().websocket(path, query, protocols)

    async def renew(self, certificate: bytes, key: bytes) -> None:
        """Go on as the holder of another client certificate (PEM); over HTTPS only."""
        transport = self._https()
        held = replace(transport.access, certificate=certificate, key=key, token="", token_file="")
        await transport.renew(held)

    def _https(self) -> "HttpsTransport":
        from kybern.client.https import HttpsTransport

        if not isinstance(self.transport, HttpsTransport):
            raise TypeError("this needs a client that speaks HTTPS")
        return self.transport

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
        resource_version: str = "",
    ) -> Obj:
        path = _path(resource, namespace, name, subresource)
        return await self._call("GET", path, {"resourceVersion": resource_version})

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_: str = "",
        metadata_only: bool = False,
    ) -> Obj:
        """One page, as the server's List object (or a PartialObjectMetadataList)."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "limit": limit,
            "continue": continue_,
        }
        accept = {"Accept": METADATA_LIST} if metadata_only else None
        return await self._call("GET", resource.path(namespace), query, headers=accept)

    async def list_all(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        keep: Callable[[Obj], Obj] | None = None,
    ) -> tuple[Objects, str]:
        """Every item, page by page, and the resourceVersion to watch from.

        Items get the kind and apiVersion that lists leave out; ``keep`` makes of each what is
        wanted of it, before the next page comes.
        """
        items: Objects = []
        continue_ = ""
        while True:
            page = await self.list(
                resource,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=PAGE_SIZE,
                continue_=continue_,
                metadata_only=metadata_only,
            )
            for item in page.get("items") or []:
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item if keep is None else keep(item))
            continue_ = page["metadata"].get("continue", "")
            if not continue_:
                return items, page["metadata"].get("resourceVersion", "")

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
        send_initial_events: bool = False,
        metadata_only: bool = False,
    ) -> AsyncGenerator[Obj, None]:
        """Events ``{"type", "object"}`` until the server ends the watch.

        BOOKMARK events are passed on. An ERROR event is raised as StatusError (410: list again).
        """
        query: dict[str, Any] = {
            "watch": True,
            "allowWatchBookmarks": True,
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": timeout_seconds,
        }
        if send_initial_events:
            query |= {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan"}
        accept = {"Accept": METADATA} if metadata_only else None
        reply = await self.open("GET", resource.path(namespace), query=query, headers=accept)
        async with reply:
            if reply.status >= 400:
                raise _failure(reply.status, await reply.read())
            async for line in _lines(reply.chunks):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise StatusError.from_status(event["object"])
                yield event

    async def create(
        self,
        resource: Resource,
        obj: Obj,
        namespace: str | None = None,
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
        metadata_only: bool = False,
    ) -> Obj:
        """Create an object, or POST to the subresource of ``name``.

        With ``metadata_only`` no more of the object comes back.
        """
        where = namespace or obj.get("metadata", {}).get("namespace")
        path = _path(resource, where, name, subresource)
        accept = {"Accept": METADATA} if metadata_only else None
        return await self._call("POST", path, {"dryRun": "All"} if dry_run else None, obj, accept)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        meta = obj["metadata"]
        path = _path(resource, meta.get("namespace"), meta["name"], subresource)
        return await self._call("PUT", path, None, obj)

    async def update_status(self, resource: Resource, obj: Obj) -> Obj:
        return await self.update(resource, obj, subresource="status")

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        kind: PatchKind = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Obj:
        query = {
            "fieldManager": field_manager,
            "force": force,
            "dryRun": "All" if dry_run else "",
        }
        if kind == "apply" and not field_manager:
            query["fieldManager"] = self.user_agent
        path = _path(resource, namespace, name, subresource)
        headers = {"Content-Type": PATCH_TYPES[kind]}
        return await self._call("PATCH", path, query, patch, headers)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> Obj:
        options = _delete_options(grace_period_seconds, propagation_policy, uid, resource_version)
        return await self._call("DELETE", resource.path(namespace, name), None, options)

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation_policy: str = "",
    ) -> Obj:
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        options = _delete_options(None, propagation_policy, "", "")
        return await self._call("DELETE", resource.path(namespace), query, options)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Obj:
        payload = orjson.dumps(body) if body is not None else None
        for attempt in range(RETRY_AFTER_TRIES + 1):
            answer = await self.request(method, path, query=query, body=payload, headers=headers)
            if answer.status < 400:
                return orjson.loads(answer.body)
            wait = answer.headers.get("retry-after", "")
            if not wait.isdigit() or attempt == RETRY_AFTER_TRIES or path.endswith("/eviction"):
                break
            await asyncio.sleep(int(wait))
        raise _failure(answer.status, answer.body)


def _path(resource: Resource, namespace: str | None, name: str, subresource: str) -> str:
    path = resource.path(namespace, name or None)
    return f"{path}/{subresource}" if subresource else path


def _delete_options(
    grace_period_seconds: int | None, propagation_policy: str, uid: str, resource_version: str
) -> Obj:
    options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    if propagation_policy:
        options["propagationPolicy"] = propagation_policy
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    if uid or resource_version:
        options["preconditions"] = {key: value for key, value in preconditions.items() if value}
    return options


def _failure(code: int, body: bytes) -> StatusError:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return StatusError.from_status(status, code)
    return StatusError(code, "", body.decode("utf-8", "replace")[:1024])


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Complete lines; a cut-off last line is dropped."""
    rest = bytearray()
    async for chunk in chunks:
        if b"\n" not in chunk:
            rest += chunk
            continue
        *complete, tail = (bytes(rest) + chunk).split(b"\n")
        rest = bytearray(tail)
        for line in complete:
            if line:
                yield line
