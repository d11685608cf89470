"""A gRPC service as async methods: ``await service.call("Version", VersionRequest())``.

Connections are made on first use and kept by grpcio, which reconnects by itself. Failures are
:class:`RpcError` with gRPC's status name, so that callers need not know grpcio.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from kybern.rpc.proto import Method, Protocol

# Lists of hundreds of containers and verbose statuses pass grpcio's 4 MiB default.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A runtime that was restarted is back within a second; the default back-off waits for up to 20.
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class RpcError(Exception):
    """A call failed. ``code`` is gRPC's name of the status (``NOT_FOUND``, ``UNAVAILABLE``)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {_go_name(code)} desc = {message}")
        self.code = code
        self.message = message


def _go_name(code: str) -> str:
    """``DEADLINE_EXCEEDED`` as ``DeadlineExceeded``: how Go prints it into events."""
    return "".join(part.capitalize() for part in code.split("_"))


def connect(endpoint: str) -> grpc.aio.Channel:
    """A channel to ``unix:///path`` (or a bare path), made when first used."""
    target = endpoint if "://" in endpoint else f"unix://{endpoint}"
    # containerd refuses the authority that grpcio derives from a socket's path.
    return grpc.aio.insecure_channel(
        target, options=[*_OPTIONS, ("grpc.default_authority", "localhost")]
    )


def connect_network(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel to ``host:port`` that notices when the other machine is gone; plain text without
    credentials. Answers may be of any size: what is stored behind them is bounded, not they."""
    options = [
        *(option for option in _OPTIONS if option[0] != "grpc.max_receive_message_length"),
        ("grpc.max_receive_message_length", -1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


class Exchange:
    """A call on which both sides send; raises :class:`RpcError`."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, message: Any) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        except asyncio.InvalidStateError:
            # The other side has ended the call already; reading tells why.
            raise RpcError("UNAVAILABLE", "the call has ended") from None

    async def receive(self) -> Any:
        """The next message; RpcError also where the other side ends the call in order."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        if message is grpc.aio.EOF:
            raise RpcError("UNAVAILABLE", "the call has ended")
        return message

    def cancel(self) -> None:
        self._call.cancel()


def _failure(error: grpc.aio.AioRpcError) -> RpcError:
    return RpcError(error.code().name, error.details() or "")


class Service:
    """One service of a protocol on one channel."""

    def __init__(self, channel: grpc.aio.Channel, protocol: Protocol, name: str) -> None:
        self._methods: dict[str, Method] = protocol.services[name]
        self._channel = channel
        self._calls: dict[str, Any] = {}

    async def call(
        self, method: str, request: Any, timeout: float | None, metadata: tuple[Any, ...] = ()
    ) -> Any:
        """One request, one response; raises :class:`RpcError`. ``timeout`` is in seconds."""
        call = self._calls.get(method)
        if call is None:
            described = self._methods[method]
            call = self._calls[method] = self._channel.unary_unary(
                described.path,
                request_serializer=described.request.SerializeToString,
                response_deserializer=described.response.FromString,
            )
        try:
            return await call(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None

    def exchange(self, method: str, metadata: tuple[Any, ...] = ()) -> Exchange:
        """Open a call on which both sides send."""
        described = self._methods[method]
        return Exchange(
            self._channel.stream_stream(
                described.path,
                request_serializer=described.request.SerializeToString,
                response_deserializer=described.response.FromString,
            )(metadata=metadata)
        )

    async def stream(
        self, method: str, request: Any, metadata: tuple[Any, ...] = ()
    ) -> AsyncIterator[Any]:
        """One request, a stream of responses until either side ends it."""
        described = self._methods[method]
        call = self._channel.unary_stream(
            described.path,
            request_serializer=described.request.SerializeToString,
            response_deserializer=described.response.FromString,
        )(request, metadata=metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        finally:
            call.cancel()
