"""The connection of a node's kubelet to the API server, for tests that count what it asks."""

from collections.abc import AsyncIterator, Mapping

from kybern.api.user import AUTHENTICATED_GROUP, UserInfo
from kybern.client import ApiUnreachable
from kybern.client.transport import InProcessTransport, Reply
from kybern.testing import Cluster

NODE = UserInfo("system:node:n1", ("system:nodes", AUTHENTICATED_GROUP))


class Counted(InProcessTransport):
    """A node's connection that counts its requests, and can be cut."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.server.handler, NODE)
        self.gets = self.lists = self.watches = self.open = 0
        self.down = False

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        if self.down:
            raise ApiUnreachable("down")
        if "watch=true" in query:
            self.watches += 1
            reply = await super().send(method, path, query, headers, body)
            reply.chunks = self._opened(reply.chunks)
            return reply
        if "fieldSelector" in query:
            self.lists += 1
        else:
            self.gets += 1
        return await super().send(method, path, query, headers, body)

    async def _opened(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            self.open -= 1
