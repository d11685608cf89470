"""Asks the runtime what it holds of a pod, for many pods with one question.

A runtime goes through all that it holds, whichever pod is asked for, so while a hundred pods start
the questions about single ones cost more than the starts. :class:`Listing` has one question on its
way: who asks meanwhile joins the next one, which is about all of them. Nobody gets an answer that
began before they asked. The state reader calls it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kybern.kubelet.cri import labels
from kybern.kubelet.cri.client import Runtime
from kybern.rpc.client import RpcError


@dataclass(slots=True)
class Held:
    """The runtime's own descriptions of sandboxes and containers."""

    sandboxes: list[Any] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class _Question:
    """What the pods ``about`` have in common; None as answer until somebody has asked."""

    about: set[str] = field(default_factory=set)
    answer: dict[str, Held] | None = None
    error: RpcError | None = None

    async def ask(self, runtime: Runtime) -> None:
        only = {labels.POD_UID: next(iter(self.about))} if len(self.about) == 1 else None
        held: defaultdict[str, Held] = defaultdict(Held)
        try:
            for uid, sandbox in _by_pod(await runtime.sandboxes(only)):
                held[uid].sandboxes.append(sandbox)
            for uid, container in _by_pod(await runtime.containers(only)):
                held[uid].containers.append(container)
        except RpcError as error:
            self.error = error
        self.answer = held


class Listing:
    """Sandboxes and containers by pod UID; those of nobody's pod are under the empty one."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._next = _Question()
        self._asking = asyncio.Lock()

    async def of_pod(self, uid: str) -> Held:
        """What the runtime holds of one pod; raises RpcError."""
        question = self._next
        question.about.add(uid)
        async with self._asking:
            if question.answer is None:
                if question is self._next:
                    self._next = _Question()
                await question.ask(self._runtime)
        if question.error is not None:
            raise RpcError(question.error.code, question.error.message)
        assert question.answer is not None
        return question.answer.get(uid) or Held()


def _by_pod(items: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return ((item.labels.get(labels.POD_UID, ""), item) for item in items)
