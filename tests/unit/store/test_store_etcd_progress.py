"""Progress of a watch on etcd, told by members of different versions."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kybern.rpc.client import RpcError
from kybern.rpc.etcd import proto
from kybern.store.etcd import EtcdStore
from kybern.store.interface import Compacted


class Member:
    """A member of a version, whose answers the test gives; stands for client and call."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.sent: list[Any] = []
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.left = 0

    async def call(self, service: str, method: str, request: Any, **options: Any) -> Any:
        if method == "Status":
            return proto.StatusResponse(version=self.version)
        self.sent.append(request)
        return proto.TxnResponse(succeeded=True)

    def watch(self) -> tuple[int, "Member"]:
        return 0, self

    def leave(self, member: int) -> None:
        self.left += 1

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def receive(self) -> Any:
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self) -> None: ...

    async def close(self) -> None: ...

    def answer(self, revision: int, *keys: str, fragment: bool = False, **more: Any) -> None:
        events = [
            proto.Event(kv=proto.KeyValue(key=key.encode(), mod_revision=revision)) for key in keys
        ]
        header = proto.ResponseHeader(revision=revision)
        self.answers.put_nowait(
            proto.WatchResponse(header=header, events=events, fragment=fragment, **more)
        )


async def follow(
    member: Member, act: Callable[[EtcdStore], Any] | None = None
) -> tuple[list[str], list[int]]:
    """The keys of the changes up to one named ``/end``, and the progress that was told."""
    store = EtcdStore(member)  # type: ignore[arg-type]
    progress: list[int] = []
    keys = []
    async with asyncio.timeout(5):
        async for change in store.watch("/", 5, progress.append):
            keys.append(change.key)
            if act is not None:
                await act(store)
            if change.key == "/end":
                break
    await store.close()
    return keys, progress


@pytest.mark.parametrize(("version", "told"), [("3.5.13", [9]), ("3.4.23", [])])
async def test_progress_counts_where_it_tells_the_truth(version: str, told: list[int]) -> None:
    member = Member(version)
    member.answer(5, created=True)
    member.answer(6, "/a")
    member.answer(9)
    member.answer(10, "/end")
    assert await follow(member) == (["/a", "/end"], told)


async def test_a_nudge_asks_for_progress_or_else_writes() -> None:
    asked = {}
    for version in ("3.5.13", "3.4.23"):
        member = Member(version)
        member.answer(5, created=True)
        member.answer(6, "/end")
        await follow(member, EtcdStore.nudge)
        asked[version] = member.sent[-1]
    assert asked["3.5.13"].HasField("progress_request")
    (operation,) = asked["3.4.23"].success
    assert operation.request_put.key == b"/kybern.io/progress"


async def test_fragments_of_a_lost_connection_are_not_joined_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kybern.store.etcd_watch.FIRST_PAUSE_SECONDS", 0.0)
    member = Member("3.5.13")
    member.answer(5, created=True)
    member.answer(7, "/a", fragment=True)
    member.answers.put_nowait(RpcError("UNAVAILABLE", "gone"))
    member.answer(7, created=True)
    # It starts one revision early, and what is known is not told again.
    member.answer(5, "/known")
    member.answer(7, "/a", fragment=True)
    member.answer(7, "/b")
    member.answer(8, "/end")
    assert await follow(member) == (["/a", "/b", "/end"], [])
    starts = [m.create_request.start_revision for m in member.sent if m.HasField("create_request")]
    assert (starts, member.left) == ([5, 5], 1)


async def test_what_is_compacted_meanwhile_ends_the_watch() -> None:
    member = Member("3.5.13")
    member.answer(5, created=True)
    member.answer(9, canceled=True, compact_revision=8)
    with pytest.raises(Compacted) as refused:
        await follow(member)
    assert refused.value.compacted_revision == 8
