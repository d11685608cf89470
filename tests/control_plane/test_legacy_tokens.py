"""Tokens in Secrets: they let their account in, their use is noted, and unused ones retire."""

import asyncio
import base64
from pathlib import Path

import jwt
import pytest
from api_calls import Caller, running
from test_security_tokens import account, who

from kybern.api.errors import Obj
from kybern.api.resources import SECRETS, SERVICE_ACCOUNTS
from kybern.api.user import ADMIN
from kybern.apiserver.config import Config
from kybern.component.clock import rfc3339
from kybern.component.pki import generate_key, private_pem
from kybern.controllers import main as controllers
from kybern.controllers.config import Config as ControllersConfig
from kybern.testing import Cluster

SECRETS_PATH = "/api/v1/namespaces/default/secrets"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
CLEANER = "legacy-serviceaccount-token-cleaner-controller"
DAY = 86400.0


def secret(token: str = "t", **metadata: object) -> Obj:
    annotations = {"kubernetes.io/service-account.name": "bot"}
    return {
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "bot-token",
            "namespace": "default",
            "annotations": annotations,
            **metadata,
        },
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }


async def test_a_token_in_a_secret_is_its_accounts_and_its_use_is_noted(tmp_path: Path) -> None:
    key = generate_key()
    file = tmp_path / "sa.key"
    file.write_bytes(private_pem(key))
    async with running(config=Config(service_account_signing_key_file=str(file))) as call:
        uid = (await account(call))["metadata"]["uid"]
        token = signed(key, uid)
        assert (await who(call, token))[0] == 401
        await call.made(SECRETS_PATH, secret(token))
        status, answer = await who(call, token)
        assert status == 201
        assert answer["userInfo"]["username"] == "system:serviceaccount:default:bot"
        labels = await labels_of(call)
        assert labels[LAST_USED] == rfc3339(call.server.clock.time())[:10]
        patch = {"metadata": {"labels": {INVALID_SINCE: "2024-01-01"}}}
        await call("PATCH", f"{SECRETS_PATH}/bot-token", patch, headers=MERGE)
        assert (await who(call, token))[0] == 401
        patch["metadata"]["labels"][INVALID_SINCE] = None  # type: ignore[assignment]
        await call("PATCH", f"{SECRETS_PATH}/bot-token", patch, headers=MERGE)
        assert (await who(call, token))[0] == 201
        assert (await who(call, signed(key, "another")))[0] == 401
        await call("DELETE", f"{SECRETS_PATH}/bot-token")
        assert (await who(call, token))[0] == 401


@pytest.mark.virtual_time
async def test_a_generated_token_that_nobody_uses_is_marked_and_then_deleted() -> None:
    async with Cluster(nodes=0, scheduler=False, controllers=False) as cluster:
        client = cluster.client
        bot = {"metadata": {"name": "bot"}, "secrets": [{"name": "bot-token"}]}
        await client.create(SERVICE_ACCOUNTS, bot, "default")
        await client.create(SECRETS, secret())
        mine = secret(name="made-by-hand")
        await client.create(SECRETS, mine)
        config = ControllersConfig(
            leader_elect=False,
            controllers=(CLEANER,),
            legacy_service_account_token_clean_up_period=2 * DAY,
        )
        run = controllers.run(cluster.client_as(ADMIN), cluster.clock, config)
        cleaner = asyncio.create_task(run)

        async def labels() -> Obj:
            found = await client.get(SECRETS, "bot-token", "default")
            return found["metadata"].get("labels") or {}

        async def names() -> list[str]:
            found = await client.list(SECRETS, "default")
            return [item["metadata"]["name"] for item in found["items"]]

        await asyncio.sleep(2 * DAY)
        assert INVALID_SINCE not in await labels()
        await asyncio.sleep(3 * DAY)
        assert INVALID_SINCE in await labels()
        assert await names() == ["bot-token", "made-by-hand"]
        await asyncio.sleep(4 * DAY)
        assert await names() == ["made-by-hand"]
        cleaner.cancel()
        await asyncio.gather(cleaner, return_exceptions=True)


MERGE = {"content-type": "application/merge-patch+json"}


def signed(key: object, uid: str) -> str:
    claim = "kubernetes.io/serviceaccount/"
    claims = {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:default:bot",
        f"{claim}namespace": "default",
        f"{claim}secret.name": "bot-token",
        f"{claim}service-account.name": "bot",
        f"{claim}service-account.uid": uid,
    }
    return jwt.encode(claims, key, "ES256")  # type: ignore[arg-type]


async def labels_of(call: Caller) -> Obj:
    found = await call("GET", f"{SECRETS_PATH}/bot-token")
    labels: Obj = found.body["metadata"]["labels"]
    return labels
