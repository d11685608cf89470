"""What kube-apiserver 1.36 answered to broken and sound requests of every kind, replayed.

``recorded/`` has a file for each kind, and some for subresources and options. Each line with an
``object`` begins a group: the object is made, and the lines below are requests about it, each with
the outcome that was observed: the code, the reason and the causes, or the message where there are
no causes. No request changes anything, so their order means nothing. ``create`` requests are the
group's object with some changes, before it is made; ``$VERSION`` stands for the object's
resourceVersion.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api_lab import Lab, serving

from kybern.api.errors import Obj
from kybern.api.objects import copy
from kybern.client import ClientResponse

RECORDED = Path(__file__).parent / "recorded"


async def test_answers_are_those_that_were_recorded() -> None:
    wrong: list[str] = []
    replayed = 0
    async with serving() as lab:
        for file in sorted(RECORDED.glob("*.jsonl")):
            for group, requests in groups(file):
                wrong += [f"{file.stem}: {text}" for text in await replay(lab, group, requests)]
                replayed += len(requests)
    assert not wrong, "\n".join(wrong)
    assert replayed > 2500


def groups(file: Path) -> Iterator[tuple[Obj, list[Obj]]]:
    """Each object of a file with the requests about it."""
    group: Obj = {}
    requests: list[Obj] = []
    for line in file.read_text().splitlines():
        read = json.loads(line)
        if "object" not in read:
            requests.append(read)
            continue
        if group:
            yield group, requests
        group, requests = read, []
    yield group, requests


async def replay(lab: Lab, group: Obj, requests: list[Obj]) -> list[str]:
    """What went otherwise than recorded."""
    wrong: list[str] = []
    creations = [request for request in requests if request["request"] == "create"]
    for request in creations:
        body = changed(group["object"], request["changes"])
        answer = await lab.call("POST", f"{group['collection']}?{request['query']}", body)
        wrong += compare(answer, request)
    if group["create"]:
        made = await lab.call("POST", group["collection"], group["object"])
        wrong += compare(made, {"outcome": group["create"]})
    for request in requests:
        if request["request"] != "create":
            wrong += compare(await ask(lab, group, request), request)
    # Limits, quotas and policies must not judge the objects of the groups that follow.
    if group["create"].get("code") == 201:
        await lab.call("DELETE", f"{group['collection']}/{group['object']['metadata']['name']}")
    return wrong


async def ask(lab: Lab, group: Obj, request: Obj) -> ClientResponse:
    body: Any = request.get("body")
    if request["request"] == "PUT":
        name = group["object"]["metadata"]["name"]
        current = (await lab.call("GET", f"{group['collection']}/{name}")).json()
        body = copy(body)
        body["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
    path = group["collection"] + request["path"]
    return await lab.call(request["request"], path, body, request.get("type", "application/json"))


def changed(obj: Obj, changes: list[Obj]) -> Obj:
    """The object with fields written and taken away."""
    fresh = copy(obj)
    for change in changes:
        held: Any = fresh
        *between, last = change["path"]
        for part in between:
            held = held[part]
        if change.get("gone"):
            del held[last]
        else:
            held[last] = change["value"]
    return fresh


def compare(answer: ClientResponse, request: Obj) -> list[str]:
    found, wanted = outcome(answer), request["outcome"]
    if found == wanted:
        return []
    return [f"{json.dumps(request)}\n  got {json.dumps(found)}"]


def outcome(answer: ClientResponse) -> Obj:
    """The part of an answer that is recorded; causes are sorted, for their order is not kept."""
    found: Obj = {"code": answer.status}
    if answer.status < 400:
        return found
    status = answer.json()
    if status.get("reason"):
        found["reason"] = status["reason"]
    causes = (status.get("details") or {}).get("causes") or []
    if causes:
        found["causes"] = sorted(causes, key=lambda cause: json.dumps(cause, sort_keys=True))
    else:
        found["message"] = status["message"]
    return found
