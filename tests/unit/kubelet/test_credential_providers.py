"""Credential provider plugins: how they are asked, and believed; with a real program."""

import asyncio
import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from provider_node import IMAGE, TOKEN, V1, Node, Obj

from kybern.kubelet.images.credentials import Login, PullAccount
from kybern.kubelet.images.providers import provider as provider_module


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def pod(name: str = "web", account: str | None = "builder") -> Obj:
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"metadata": meta, "spec": {"serviceAccountName": account} if account else {}}


async def test_a_plugin_is_asked_for_the_images_that_it_knows(node: Node) -> None:
    declared = {"args": ["--x", "y"], "env": [{"name": "MODE", "value": "test"}]}
    made = node.provider(**declared)
    logins = {"registry.example": Login("u", "p")}
    assert await made.provide(IMAGE, pod()) == (logins, None)
    assert await made.provide("elsewhere.example/app", pod()) == ({}, None)
    assert await made.provide("a.wild.example:5000/team/app", pod()) == (logins, None)
    kind = {"kind": "CredentialProviderRequest", "apiVersion": V1}
    wanted = [IMAGE, "a.wild.example:5000/team/app"]
    assert node.asked() == [{**kind, "image": image} for image in wanted]
    assert (node.directory / "asked").read_text().splitlines()[1] == "--x y test"


@pytest.mark.parametrize(
    ("scope", "others"), [("Image", (2, 3)), ("Registry", (1, 2)), ("Global", (1, 1))]
)
async def test_answers_are_kept_as_far_as_the_plugin_says(
    node: Node, scope: str, others: tuple[int, int]
) -> None:
    node.answers(cacheKeyType=scope)
    made = node.provider(matchImages=["*.example"])
    counts = []
    for image in (IMAGE, IMAGE, "registry.example/other", "elsewhere.example/app"):
        await made.provide(image, pod())
        counts.append(len(node.asked()))
    assert counts == [1, 1, *others]


@pytest.mark.parametrize(
    ("answered", "default", "after", "times"),
    [
        ({}, "1m", 59, 1),
        ({}, "1m", 60, 2),
        ({}, "0s", 0, 2),
        ({"cacheDuration": "10s"}, "1m", 9, 1),
        ({"cacheDuration": "10s"}, "1m", 10, 2),
        ({"cacheDuration": "0s"}, "1m", 0, 2),
    ],
)
async def test_answers_are_kept_as_long_as_the_plugin_says(
    node: Node, answered: Obj, default: str, after: int, times: int
) -> None:
    node.answers(**answered)
    made = node.provider(defaultCacheDuration=default)
    await made.provide(IMAGE, pod())
    node.clock.seconds += after
    await made.provide(IMAGE, pod())
    assert len(node.asked()) == times


async def test_few_answers_are_kept(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "MAX_KEPT", 1)
    made = node.provider()
    for image in (IMAGE, "registry.example/other", IMAGE):
        await made.provide(image, pod())
    assert len(node.asked()) == 3


async def test_pods_that_ask_at_once_get_one_answer(node: Node) -> None:
    answer = (node.directory / "answer").read_text()
    node.says(f"read go < $NODE_DIR/go; {answer}")
    os.mkfifo(node.directory / "go")
    made = node.provider(defaultCacheDuration="0s")
    first, second = (asyncio.create_task(made.provide(IMAGE, pod(name))) for name in "ab")
    writer = await asyncio.to_thread(open, node.directory / "go", "w")
    first.cancel()
    await asyncio.to_thread(writer.close)
    assert (await second)[0]
    assert len(node.asked()) == 1


def errors() -> float:
    name = "kubelet_credential_provider_plugin_errors_total"
    return REGISTRY.get_sample_value(name, {"plugin_name": "plugin"}) or 0


def runs() -> float:
    name = "kubelet_credential_provider_plugin_duration_count"
    return REGISTRY.get_sample_value(name, {"plugin_name": "plugin"}) or 0


@pytest.mark.parametrize(
    ("script", "why", "counted"),
    [
        ("echo broken >&2; exit 3", "exit status 3: broken", 1),
        ("kill -9 $$", "signal: killed", 1),
        ("echo secret", "error reading GVK from response", 0),
        ('echo \'{"apiVersion": "v1"}\'', "apiVersion from credential plugin response did not", 0),
        ("", "error reading GVK from response", 0),
    ],
)
async def test_a_plugin_that_fails_gives_nothing(
    node: Node, caplog: pytest.LogCaptureFixture, script: str, why: str, counted: int
) -> None:
    node.says(script)
    failed, ran = errors(), runs()
    assert await node.provider().provide(IMAGE, pod()) == ({}, None)
    assert why in caplog.text
    assert "secret" not in caplog.text
    assert (errors() - failed, runs() - ran) == (counted, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "Other"},
        {"cacheKeyType": "Other"},
        {"cacheDuration": 5},
        {"auth": []},
        {"auth": {"a": {"username": 1}}},
        {"auth": {"a": {"token": "x"}}},
        {"other": 1},
    ],
)
async def test_an_answer_of_another_form_is_not_believed(node: Node, changed: Obj) -> None:
    node.answers(**changed)
    made = node.provider()
    assert await made.provide(IMAGE, pod()) == ({}, None)
    node.answers()
    assert (await made.provide(IMAGE, pod()))[0]


def runs_on(process: int) -> bool:
    """Whether a process has not ended, even if nobody has buried it yet."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


async def test_a_plugin_that_hangs_is_killed_with_what_it_started(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = []
    patience = asyncio.timeout(None)
    monkeypatch.setattr(asyncio, "timeout", lambda seconds: limits.append(seconds) or patience)
    node.says("sleep 600 & echo $! > $NODE_DIR/written; mv $NODE_DIR/written $NODE_DIR/child; wait")
    asked = asyncio.create_task(node.provider().provide(IMAGE, pod()))
    file = node.directory / "child"
    while not file.exists():
        await asyncio.sleep(0.01)
    patience.reschedule(0)
    assert await asked == ({}, None)
    assert limits == [60]
    assert "context deadline exceeded" in caplog.text
    while runs_on(int(file.read_text())):
        await asyncio.sleep(0.01)


async def test_a_plugin_gets_a_token_of_the_pods_service_account(node: Node) -> None:
    node.objects.annotations = {"example.com/role": "r", "example.com/maybe": "m", "other": "x"}
    keys = {
        "requiredServiceAccountAnnotationKeys": ["example.com/role"],
        "optionalServiceAccountAnnotationKeys": ["example.com/maybe", "example.com/none"],
    }
    made = node.provider(tokenAttributes={**TOKEN, **keys})
    logins, account = await made.provide(IMAGE, pod())
    assert logins and account == PullAccount("default", "builder", "u1")
    assert node.asked()[0]["serviceAccountToken"] == "reg-web-u1"
    told = {"example.com/role": "r", "example.com/maybe": "m"}
    assert node.asked()[0]["serviceAccountAnnotations"] == told
    node.objects.annotations = {"example.com/maybe": "m"}
    assert await made.provide(IMAGE, pod("other")) == ({}, None)
    assert len(node.asked()) == 1


async def test_answers_belong_to_the_token_or_to_the_account(node: Node) -> None:
    counts = {}
    for cache_type in ("Token", "ServiceAccount"):
        made = node.provider(tokenAttributes={**TOKEN, "cacheType": cache_type})
        before = len(node.asked())
        for name in ("a", "b", "a"):
            await made.provide(IMAGE, pod(name))
        node.objects.uid = f"new-{cache_type}"
        await made.provide(IMAGE, pod("a"))
        counts[cache_type] = len(node.asked()) - before
    assert counts == {"Token": 3, "ServiceAccount": 2}


async def test_a_token_is_a_password_only_where_answers_belong_to_tokens(node: Node) -> None:
    node.answers(auth={"registry.example": {"username": "u", "password": "reg-web-u1"}})
    for cache_type, logins in (("ServiceAccount", 0), ("Token", 1)):
        made = node.provider(tokenAttributes={**TOKEN, "cacheType": cache_type})
        assert len((await made.provide(IMAGE, pod()))[0]) == logins


@pytest.mark.parametrize(("required", "times"), [(True, 0), (False, 1)])
async def test_pods_without_an_account_are_the_plugins_choice(
    node: Node, required: bool, times: int
) -> None:
    made = node.provider(tokenAttributes={**TOKEN, "requireServiceAccount": required})
    _, account = await made.provide(IMAGE, pod(account=None))
    assert account is None
    assert len(node.asked()) == times
    assert not any("serviceAccountToken" in request for request in node.asked())
    assert await made.provide(IMAGE, pod(account="nobody")) == ({}, None)
