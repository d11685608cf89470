"""Bound tokens: asked for, used, reviewed, and dead with what they are bound to."""

import jwt
import pytest
from api_calls import Caller, running

from kybern.api.errors import Obj
from kybern.component.clock import Clock

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ISSUER = "https://kubernetes.default.svc.cluster.local"


class SetClock(Clock):
    """A clock that a test moves."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def account(call: Caller, name: str = "bot") -> Obj:
    return await call.made(ACCOUNTS, {"metadata": {"name": name}})


async def pod(call: Caller) -> Obj:
    spec = {
        "serviceAccountName": "bot",
        "nodeName": "n1",
        "containers": [{"name": "c", "image": "i"}],
    }
    return await call.made(
        "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec}
    )


async def token(call: Caller, **spec: object) -> str:
    answer = await call.made(f"{ACCOUNTS}/bot/token", {"spec": spec})
    issued: str = answer["status"]["token"]
    return issued


async def who(call: Caller, bearer: str) -> tuple[int, Obj]:
    headers = {"authorization": f"Bearer {bearer}"}
    answer = await call("POST", SELF, {}, user=None, headers=headers)
    return answer.status, answer.body.get("status")


async def test_a_token_names_its_account() -> None:
    async with running() as call:
        uid = (await account(call))["metadata"]["uid"]
        issued = await token(call)
        status, answer = await who(call, issued)
        assert status == 201
        user = answer["userInfo"]
        assert user["username"] == "system:serviceaccount:default:bot"
        assert user["uid"] == uid
        assert user["groups"] == [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated",
        ]
        claims = jwt.decode(issued, options={"verify_signature": False})
        assert claims["aud"] == [ISSUER]
        assert claims["iss"] == ISSUER
        assert user["extra"] == {
            "authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]
        }


async def test_a_token_dies_with_its_account() -> None:
    async with running() as call:
        await account(call)
        issued = await token(call)
        assert (await who(call, issued))[0] == 201
        await call("DELETE", f"{ACCOUNTS}/bot")
        assert (await who(call, issued))[0] == 401
        await account(call)
        assert (await who(call, issued))[0] == 401


async def test_a_token_dies_with_its_pod() -> None:
    async with running() as call:
        await account(call)
        uid = (await pod(call))["metadata"]["uid"]
        issued = await token(call, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
        status, answer = await who(call, issued)
        assert status == 201
        extra = answer["userInfo"]["extra"]
        assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
        assert extra["authentication.kubernetes.io/pod-uid"] == [uid]
        assert extra["authentication.kubernetes.io/node-name"] == ["n1"]
        path = "/api/v1/namespaces/default/pods/p"
        await call("DELETE", path, {"gracePeriodSeconds": 0})
        assert (await who(call, issued))[0] == 401


async def test_a_token_expires() -> None:
    clock = SetClock(1)
    async with running(clock=clock) as call:
        await account(call)
        issued = await token(call, expirationSeconds=600)
        assert (await who(call, issued))[0] == 201
        clock.ahead = 700.0
        assert (await who(call, issued))[0] == 401


async def test_a_pods_token_outlives_its_wish_with_a_warning_time() -> None:
    async with running() as call:
        await account(call)
        await pod(call)
        reference = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
        issued = await token(call, expirationSeconds=3607, boundObjectRef=reference)
        claims = jwt.decode(issued, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
        assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607


@pytest.mark.parametrize("damage", ["signature", "audience", "text"])
async def test_what_is_no_token_of_ours_is_refused(damage: str) -> None:
    async with running() as call:
        await account(call)
        issued = await token(call, audiences=["vault"] if damage == "audience" else [ISSUER])
        if damage == "signature":
            head, body, signature = issued.split(".")
            issued = f"{head}.{body}.{signature[::-1]}"
        elif damage == "text":
            issued = "nonsense"
        assert (await who(call, issued))[0] == 401


async def test_a_review_tells_whom_a_token_is_for() -> None:
    async with running() as call:
        await account(call)
        issued = await token(call, audiences=["vault"])
        asked = {"spec": {"token": issued, "audiences": ["vault", "other"]}}
        status = (await call.made(REVIEWS, asked))["status"]
        assert status["authenticated"] is True
        assert status["audiences"] == ["vault"]
        assert status["user"]["username"] == "system:serviceaccount:default:bot"
        wrong = (await call.made(REVIEWS, {"spec": {"token": issued}}))["status"]
        assert "authenticated" not in wrong
        assert "is invalid for the target audiences" in wrong["error"]


async def test_tokens_outlive_the_server_if_the_key_does(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from kybern.apiserver.config import Config
    from kybern.component import pki
    from kybern.store.memory import MemoryStore

    pki.load_or_create_key(tmp_path, "sa")
    config = Config(service_account_signing_key_file=str(tmp_path / "sa.key"))
    store = MemoryStore()
    async with running(store, config) as call:
        await account(call)
        issued = await token(call)
    async with running(store, config) as call:
        assert (await who(call, issued))[0] == 201
    async with running(store) as call:
        assert (await who(call, issued))[0] == 401
    await store.close()


async def test_discovery_tells_the_keys() -> None:
    async with running() as call:
        await account(call)
        issued = await token(call)
        wanted = {"accept": "application/jwk-set+json"}
        keys = (await call("GET", "/openid/v1/jwks", headers=wanted)).body
        found = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(issued)["kid"]]
        claims = jwt.decode(issued, found, algorithms=["ES256"], audience=ISSUER)
        assert claims["sub"] == "system:serviceaccount:default:bot"
        document = (await call("GET", "/.well-known/openid-configuration")).body
        assert document["issuer"] == ISSUER
        assert document["id_token_signing_alg_values_supported"] == ["ES256"]


@pytest.mark.parametrize(
    ("spec", "status", "message"),
    [
        ({"expirationSeconds": 5}, 422, "may not specify a duration less than 10 minutes"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "x"}}, 404, "not found"),
        ({"boundObjectRef": {"kind": "Job", "apiVersion": "batch/v1", "name": "x"}}, 400, "Job"),
    ],
)
async def test_requests_that_cannot_be_met(spec: Obj, status: int, message: str) -> None:
    async with running() as call:
        await account(call)
        answer = await call("POST", f"{ACCOUNTS}/bot/token", {"spec": spec})
        assert answer.status == status
        assert message in answer.body["message"]
