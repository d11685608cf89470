"""Quotas hold under concurrency: what is let in never exceeds what is left."""

import asyncio

from api_calls import Caller, running

from kybern.api.errors import Obj
from kybern.store.memory import MemoryStore

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def quota(call: Caller, **hard: str) -> None:
    """A quota that the controller has looked at already."""
    limits = {name.replace("__", "/"): value for name, value in hard.items()}
    made = await call.made(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": limits}})
    made["status"] = {"hard": limits, "used": dict.fromkeys(limits, "0")}
    assert (await call("PUT", f"{QUOTAS}/q/status", made)).status == 200


async def used(call: Caller) -> Obj:
    found: Obj = (await call("GET", f"{QUOTAS}/q")).body["status"]["used"]
    return found


def config_map(index: int) -> Obj:
    return {"metadata": {"name": f"c{index}"}}


def pod(name: str, cpu: str = "") -> Obj:
    container: Obj = {"name": "c", "image": "i"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [container], "serviceAccountName": "a"},
    }


async def test_a_crowd_gets_what_is_left_and_no_more() -> None:
    async with running() as call:
        await quota(call, count__configmaps="7")
        answers = await asyncio.gather(
            *(call("POST", CONFIG_MAPS, config_map(i)) for i in range(30))
        )
        assert sum(answer.status == 201 for answer in answers) == 7
        assert sum(answer.status == 403 for answer in answers) == 23
        assert await used(call) == {"count/configmaps": "7"}


async def test_two_servers_share_a_quota() -> None:
    store = MemoryStore()
    async with running(store) as one, running(store) as other:
        await quota(one, count__configmaps="5")
        answers = await asyncio.gather(
            *((one if i % 2 else other)("POST", CONFIG_MAPS, config_map(i)) for i in range(20))
        )
        assert sum(answer.status == 201 for answer in answers) == 5
        assert await used(one) == {"count/configmaps": "5"}
    await store.close()


async def test_the_refusal_tells_the_numbers() -> None:
    async with running() as call:
        await call.made("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "a"}})
        await quota(call, **{"requests.cpu": "1", "pods": "5"})
        await call.made(PODS, pod("a", "600m"))
        refused = await call("POST", PODS, pod("b", "500m"))
        assert refused.status == 403
        assert refused.body["message"] == (
            'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=500m, '
            "used: requests.cpu=600m, limited: requests.cpu=1"
        )
        silent = await call("POST", PODS, pod("c"))
        assert silent.body["message"] == (
            'pods "c" is forbidden: failed quota: q: must specify requests.cpu for: c'
        )
        assert await used(call) == {"requests.cpu": "600m", "pods": "1"}


async def test_a_dry_run_is_not_charged() -> None:
    async with running() as call:
        await quota(call, count__configmaps="1")
        answer = await call("POST", CONFIG_MAPS, config_map(1), query="dryRun=All")
        assert answer.status == 201
        assert await used(call) == {"count/configmaps": "0"}


async def test_a_quota_that_was_never_counted_lets_nothing_pass() -> None:
    async with running() as call:
        hard = {"count/configmaps": "5"}
        made = await call.made(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}})
        made["status"] = {"hard": hard, "used": {}}
        await call("PUT", f"{QUOTAS}/q/status", made)
        refused = await call("POST", CONFIG_MAPS, config_map(1))
        assert refused.body["message"].endswith(
            "status unknown for quota: q, resources: count/configmaps"
        )
