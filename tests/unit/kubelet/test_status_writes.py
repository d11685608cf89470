"""How statuses get to the API server."""

import asyncio
from typing import Any

from kubelet_pods import pod

from kybern.kubelet.status.manager import StatusManager

Obj = dict[str, Any]


class Server:
    """Notes what is written; ``after`` is called when the writer has all but ended."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.removed: list[str] = []
        self.after: Any = None
        self.during: Any = None

    async def patch(self, resource: Any, name: str, patch: Obj, *where: Any, **how: Any) -> Obj:
        self.phases.append(patch["status"]["phase"])
        if self.during is not None:
            self.during()
        if self.after is not None:
            asyncio.get_running_loop().call_soon(self.after)
            self.after = None
        return {"metadata": {"resourceVersion": "1"}}

    async def delete(self, resource: Any, name: str, *where: Any, **how: Any) -> None:
        self.removed.append(name)


async def test_a_status_that_comes_as_the_writer_ends_is_written_too() -> None:
    server, mine = Server(), pod()
    manager = StatusManager(server)  # type: ignore[arg-type]
    server.after = lambda: manager.set(mine, {"phase": "Running"})
    manager.set(mine, {"phase": "Pending"})
    async with asyncio.timeout(5):
        while len(server.phases) < 2:
            await asyncio.sleep(0)
    assert server.phases == ["Pending", "Running"]
    await manager.close()


async def test_a_delete_that_comes_while_the_last_status_is_written_is_not_forgotten() -> None:
    server, mine = Server(), pod()
    manager = StatusManager(server)  # type: ignore[arg-type]
    deleted = {
        **mine,
        "metadata": {**mine["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"},
    }
    server.during = lambda: manager.finish(deleted)
    manager.set(mine, {"phase": "Failed"})
    async with asyncio.timeout(5):
        while not server.removed:
            await asyncio.sleep(0)
    assert (server.phases, server.removed) == (["Failed"], ["p"])
    await manager.close()
