"""A client's way to an API server of the same process, which a test can cut."""

from collections.abc import AsyncIterator, Mapping

from kybern.client.transport import ApiUnreachable, InProcessTransport, Reply


class BrokenLine(InProcessTransport):
    """While it is down nothing goes through: open replies end, watches too, and none are made."""

    down = False
    requests = 0

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        if self.down:
            raise ApiUnreachable("the line is down")
        self.requests += 1
        reply = await super().send(method, path, query, headers, body)
        reply.chunks = self._until_down(reply.chunks)
        return reply

    async def _until_down(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.down:
                raise ApiUnreachable("the line was cut")
            yield chunk
