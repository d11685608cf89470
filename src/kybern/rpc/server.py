"""A gRPC service on a unix socket, from async functions: what plugins of a node call.

``await serve(socket, protocol, "Registration", {"Register": register})``; a method that streams
its answers is an async generator. What a function raises as :class:`~kybern.rpc.client.RpcError`
is the caller's status; anything else is INTERNAL.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern.rpc.client import RpcError
from kybern.rpc.proto import Method, Protocol


class RpcServer:
    """A running service."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    async def close(self) -> None:
        """Stop at once, calls included."""
        await self._server.stop(None)


Functions = Mapping[str, Callable[[Any], Any]]


async def serve(
    socket: Path,
    protocol: Protocol,
    service: str,
    functions: Functions,
    *others: tuple[Protocol, str, Functions],
) -> RpcServer:
    """Serve the methods that ``functions`` name, and those of ``others`` beside them.

    Whatever is left at the path is taken away.
    """
    server = grpc.aio.server()
    for declared, one, calls in ((protocol, service, functions), *others):
        methods = declared.services[one]
        handlers = {name: _handler(methods[name], call) for name, call in calls.items()}
        full = next(iter(methods.values())).path.split("/")[1]
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(full, handlers),))
    await asyncio.to_thread(socket.unlink, missing_ok=True)
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    return RpcServer(server)


def _handler(method: Method, call: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
    async def one(request: Any, context: Any) -> Any:
        try:
            return await call(request)
        except RpcError as error:
            await context.abort(grpc.StatusCode[error.code], error.message)

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        async for answer in call(request):
            yield answer

    make: Any = grpc.unary_unary_rpc_method_handler
    if method.server_streams:
        make = grpc.unary_stream_rpc_method_handler
    return make(
        many if method.server_streams else one,
        request_deserializer=method.request.FromString,
        response_serializer=method.response.SerializeToString,
    )
