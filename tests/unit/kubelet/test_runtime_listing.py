"""Many pods ask the runtime with one question, and each gets an answer of its own time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kybern.kubelet.cri.client import Runtime, cri
from kybern.kubelet.cri.labels import POD_UID
from kybern.kubelet.cri.listing import Listing
from kybern.rpc.client import RpcError


class HeldRuntime(Runtime):
    """A runtime that holds its answers until it is let go, and writes down what it was asked."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.asked: list[str] = []
        self.let_go = asyncio.Event()
        self.error: RpcError | None = None

    async def sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[Any]:
        wanted = (labels or {}).get(POD_UID, "")
        self.asked.append(wanted or "all")
        held = [uid for uid in self.held if uid.startswith(wanted)]
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return [cri.PodSandbox(id=f"s-{uid}", labels={POD_UID: uid}) for uid in held]

    async def containers(self, labels: Mapping[str, str] | None = None) -> Sequence[Any]:
        return [cri.Container(id=f"c-{uid}", labels={POD_UID: uid}) for uid in self.held]


async def ask(listing: Listing, *uids: str) -> list[asyncio.Task[Any]]:
    """The pods' questions, on their way."""
    tasks = [asyncio.create_task(listing.of_pod(uid)) for uid in uids]
    await asyncio.sleep(0)
    return tasks


def names(held: Any) -> tuple[list[str], list[str]]:
    return [s.id for s in held.sandboxes], [c.id for c in held.containers]


async def test_a_pod_alone_is_asked_for_alone() -> None:
    runtime = HeldRuntime()
    runtime.let_go.set()
    runtime.held = ["a"]
    assert names(await Listing(runtime).of_pod("a")) == (["s-a"], ["c-a"])
    assert names(await Listing(runtime).of_pod("b")) == ([], [])
    assert runtime.asked == ["a", "b"]


async def test_who_asks_meanwhile_joins_the_next_question() -> None:
    runtime = HeldRuntime()
    listing = Listing(runtime)
    first = await ask(listing, "a")
    runtime.held = ["a", "b", "c"]
    later = await ask(listing, "a", "b", "c")
    runtime.let_go.set()
    assert names(await first[0])[0] == []
    answers = await asyncio.gather(*later)
    assert [names(held)[0] for held in answers] == [["s-a"], ["s-b"], ["s-c"]]
    assert runtime.asked == ["a", "all"]


async def test_an_error_reaches_all_who_asked_and_nobody_after_them() -> None:
    runtime = HeldRuntime()
    listing = Listing(runtime)
    runtime.error = RpcError("UNAVAILABLE", "the runtime is away")
    tasks = [*await ask(listing, "a"), *await ask(listing, "b", "c")]
    runtime.let_go.set()
    for task in tasks:
        with pytest.raises(RpcError, match="away"):
            await task
    runtime.error = None
    assert names(await listing.of_pod("a")) == ([], [])


async def test_a_question_outlives_the_one_who_asks_it() -> None:
    runtime = HeldRuntime()
    runtime.held = ["a", "b"]
    listing = Listing(runtime)
    tasks = await ask(listing, "x")
    tasks += await ask(listing, "a", "b")
    tasks[0].cancel()
    tasks[1].cancel()
    runtime.let_go.set()
    assert names(await tasks[2])[0] == ["s-b"]
