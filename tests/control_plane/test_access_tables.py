"""Every rule of authentication, authorization and admission, by the tables in ``access/``."""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest
from access_tables import FOLDER, Reply, Send, Table, Who, load, problems
from api_calls import Caller, running

from kybern.api.errors import Obj
from kybern.api.user import UserInfo, authenticated
from kybern.apiserver.config import Config

TABLES = [load(path) for path in sorted(FOLDER.glob("*.yaml"))]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_the_server_does_what_the_table_says(table: Table, tmp_path: Path) -> None:
    flags = {
        name.replace("-", "_"): tuple(value) if isinstance(value, list) else value
        for name, value in table.flags.items()
    }
    if table.configured:
        file = tmp_path / "admission.yaml"
        file.write_text(table.configuration)
        flags["admission_control_config_file"] = str(file)
    async with running(config=Config(**flags)) as call:
        account = {"metadata": {"name": "default"}}
        await call.made("/api/v1/namespaces/default/serviceaccounts", account)
        found = await problems(table, _sender(call))
    assert not found, "\n".join(["", *found])


def _sender(call: Caller) -> Send:
    async def send(
        method: str, path: str, body: Obj | None, who: Who, headers: Mapping[str, str]
    ) -> Reply:
        bare, _, query = path.partition("?")
        sent = {name.lower(): value for name, value in headers.items()}
        answer = await call(method, unquote(bare), body, user=_user(who), headers=sent, query=query)
        warnings = answer.headers.get("Warning", "")
        texts = [part.removesuffix(", ") for part in warnings.split("299 - ")[1:]]
        return Reply(answer.status, answer.body, [json.loads(text) for text in texts])

    return send


def _user(who: Who) -> UserInfo | None:
    if not who.name:
        return None
    extra = {key: tuple(values) for key, values in who.extra.items()}
    return authenticated(UserInfo(who.name, who.groups, who.uid, extra))
