"""Extenders of large clusters are asked about a part of the nodes at a time."""

from typing import Any

import orjson
import pytest
from test_decision import Core, node, pod

from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response
from kybern.component.http.server import serve
from kybern.scheduler.configuration import ProfileSettings
from kybern.scheduler.decision import Placement
from kybern.scheduler.extenders.asking import Extenders, nodes_at_once
from kybern.scheduler.extenders.settings import read_extenders


@pytest.mark.parametrize(
    ("percentage", "count", "expected"),
    [
        (0, 99, 99),
        (0, 100, 100),
        (0, 1000, 420),
        (0, 5000, 500),
        (0, 6000, 300),
        (5, 1000, 100),
        (70, 1000, 700),
        (100, 1000, 1000),
    ],
)
def test_as_many_as_upstream_would_look_for(percentage: int, count: int, expected: int) -> None:
    assert nodes_at_once(percentage, count) == expected


async def test_the_next_part_is_asked_about_where_the_first_will_not_do() -> None:
    asked: list[list[str]] = []

    async def only_the_last(request: Request) -> Response:
        names: list[str] = orjson.loads(request.body)["NodeNames"]
        asked.append(names)
        answer: dict[str, Any] = {"NodeNames": [name for name in names if name == "n249"]}
        return Response(200, {"Content-Type": "application/json"}, orjson.dumps(answer))

    core = Core(
        *(node(f"n{number}") for number in range(250)), settings=ProfileSettings(percentage=10)
    )
    server = await serve(only_the_last, "127.0.0.1", 0, clock=Clock())
    url = f"http://127.0.0.1:{server.port}"
    wanted = {"urlPrefix": url, "filterVerb": "filter", "nodeCacheCapable": True}
    extenders = Extenders(read_extenders([wanted]))
    try:
        outcome = await extenders.decide(core.decider, pod("one"))
    finally:
        await extenders.close()
        await server.close()
    assert isinstance(outcome, Placement) and outcome.node == "n249"
    assert all(len(names) <= 100 for names in asked)
    assert len({name for names in asked for name in names}) == sum(map(len, asked))
