"""What every answer of an API server must be, however bad the question: judged in one place."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from kybern.api.errors import Obj
from kybern.api.resources import SERVICE_ACCOUNTS
from kybern.client import Client, ClientResponse
from kybern.store.memory import MemoryStore
from kybern.testing import Cluster

# Background work of the server itself, which any accepted object may set off; and ports of a
# refused Service, taken and given back.
SERVER_S_OWN = ("customresourcedefinitions", "apiservices", "/registry/ranges/")


@dataclass
class Question:
    """One request; ``body`` is sent as it is if it is bytes."""

    method: str
    path: str
    query: Obj = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"

    def payload(self) -> bytes | None:
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return orjson.dumps(self.body)

    def __str__(self) -> str:
        body = self.payload() or b""
        shown = f"{body[:2000]!r}{'...' if len(body) > 2000 else ''}"
        return f"{self.method} {self.path}?{self.query} {self.content_type} {shown}"


class Complaints(logging.Handler):
    """Everything that any part of the process logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logging.Formatter().format(record))


class Judge:
    """Asks a server in this process, and looks at its store and its log as well."""

    def __init__(self, client: Client, store: MemoryStore, complaints: Complaints) -> None:
        self.client = client
        self._store = store
        self._complaints = complaints
        self.codes: dict[int, int] = {}

    async def ask(self, question: Question) -> ClientResponse:
        """The answer; fails if it is not a fit one, or if a refused request left something."""
        before = await self._store.revision()
        answer = await self._answer(question)
        self.codes[answer.status] = self.codes.get(answer.status, 0) + 1
        check_answer(answer, str(question))
        assert not self._complaints.texts, f"{question}\n{self._complaints.texts[0]}"
        if answer.status >= 400:
            await self._check_nothing_stored(question, before)
        return answer

    async def _answer(self, question: Question) -> ClientResponse:
        """Streams are closed at once: what counts is how they begin."""
        reply = await self.client.open(
            question.method,
            question.path,
            query=question.query,
            body=question.payload(),
            headers={"Content-Type": question.content_type} if question.body is not None else {},
        )
        async with reply:
            streams = reply.status == 200 and "watch" in question.query
            return ClientResponse(
                reply.status, reply.headers, b"" if streams else await reply.read()
            )

    async def _check_nothing_stored(self, question: Question, before: int) -> None:
        if await self._store.revision() == before:
            return
        entries = (await self._store.list("/")).entries
        changed = [e.key for e in entries if e.mod_revision > before]
        stored = [key for key in changed if not any(own in key for own in SERVER_S_OWN)]
        assert not stored, f"{question} was refused and changed {stored}"


def check_answer(answer: ClientResponse, question: str) -> None:
    """A refusal is a Status with a reason, and never the server's own failure."""
    if answer.status < 400:
        return
    shown = f"{question[:3000]}\n{answer.status} {answer.body[:2000]!r}"
    assert b"Traceback" not in answer.body, shown
    if answer.status == 504:
        assert b"ResourceVersionTooLarge" in answer.body, shown
    else:
        assert answer.status < 500, shown
    if answer.headers.get("content-type", "").startswith("text/plain"):
        assert (answer.status, answer.body) == (404, b"404 page not found\n"), shown
        return
    status = orjson.loads(answer.body)
    assert status["kind"] == "Status" and status["status"] == "Failure", shown
    assert status["code"] == answer.status and status.get("reason") and status.get("message"), shown


@asynccontextmanager
async def judged_server() -> AsyncIterator[Judge]:
    """A whole API server without controllers, ready to take pods."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        async with Cluster(nodes=0, controllers=False, scheduler=False, seed=1) as cluster:
            account: Obj = {"metadata": {"name": "default"}}
            await cluster.client.create(SERVICE_ACCOUNTS, account, "default")
            yield Judge(cluster.client, cluster.store, complaints)
    finally:
        logging.getLogger().removeHandler(complaints)
