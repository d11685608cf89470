"""LIST: every combination of resourceVersion, match, limit and continue."""

import asyncio
import base64

import orjson
import pytest
from pod_cache import PODS, Pods

from kybern.api.errors import StatusError
from kybern.api.selectors import FieldSelector, LabelSelector
from kybern.apiserver.cache import Listing


def names(listing: Listing) -> list[str]:
    return [cached.obj["metadata"]["name"] for cached in listing.items]


def token(**fields: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()


async def test_a_list_is_in_key_order_and_stays_in_its_namespace(pods: Pods) -> None:
    for name, namespace in (("b", "x"), ("a", "x"), ("c", "xy"), ("d", "a")):
        await pods.create(name, namespace)
    assert names(await pods.cache.list(PODS)) == ["d", "a", "b", "c"]
    assert names(await pods.cache.list(f"{PODS}x/")) == ["a", "b"]
    assert names(await pods.cache.list(f"{PODS}x")) == ["a", "b"]
    assert (await pods.cache.list(PODS)).revision == 5


async def test_the_json_of_an_object_holds_its_resource_version(pods: Pods) -> None:
    pod = await pods.create("a", app="web")
    text = orjson.loads(pod.json())
    assert text["metadata"] == {
        "resourceVersion": "2",
        "name": "a",
        "namespace": "default",
        "labels": {"app": "web"},
    }
    assert b"resourceVersion" not in pod.payload
    assert pod.obj == text


async def test_text_that_looks_like_metadata_does_not_confuse_the_splice(pods: Pods) -> None:
    obj = {"spec": {"x": '"metadata":{'}, "kind": "Pod", "metadata": {"name": "a"}, "data": {}}
    pod = await pods.cache.create(f"{PODS}default/a", obj | {"apiVersion": "v1"})
    assert orjson.loads(pod.json()) == obj | {
        "apiVersion": "v1",
        "metadata": {"name": "a", "resourceVersion": "2"},
    }


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("app=web", "", ["a", "c"]),
        ("app=web,tier=1", "", ["a"]),
        ("app in (web)", "", ["a", "c"]),
        ("app in (web,db)", "", ["a", "b", "c"]),
        ("app!=web", "", ["b"]),
        ("app=none", "", []),
        ("", "spec.nodeName=n1", ["a", "b"]),
        ("", "spec.nodeName!=n1", ["c"]),
        ("app=web", "spec.nodeName=n1", ["a"]),
        ("", "metadata.name=b", ["b"]),
        ("", "metadata.name=nobody", []),
        ("app=web", "metadata.name=b", []),
        ("", "metadata.name=b,metadata.namespace=other", []),
    ],
)
@pytest.mark.parametrize("prefix", [PODS, f"{PODS}default/"])
async def test_selectors(
    pods: Pods, prefix: str, labels: str, fields: str, expected: list[str]
) -> None:
    await pods.create("a", node="n1", app="web", tier="1")
    await pods.create("b", node="n1", app="db")
    await pods.create("c", node="n2", app="web")
    listing = await pods.cache.list(
        prefix, selector=LabelSelector.parse(labels), fields=FieldSelector.parse(fields)
    )
    assert names(listing) == expected


async def test_the_index_follows_changed_labels_and_deletions(pods: Pods) -> None:
    pod = await pods.create("a", app="web")
    web, db = LabelSelector.parse("app=web"), LabelSelector.parse("app=db")
    pod = await pods.relabel(pod, app="db")
    assert names(await pods.cache.list(PODS, selector=web)) == []
    assert names(await pods.cache.list(PODS, selector=db)) == ["a"]
    await pods.delete(pod)
    assert names(await pods.cache.list(PODS, selector=db)) == []


async def test_pages_show_the_revision_of_the_first(pods: Pods) -> None:
    made = [await pods.create(f"p{i}") for i in range(5)]
    first = await pods.cache.list(PODS, limit=2)
    assert (names(first), first.remaining, first.revision) == (["p0", "p1"], 3, 6)
    await pods.delete(made[3])
    await pods.create("p25")
    second = await pods.cache.list(PODS, limit=2, continue_token=first.continue_token)
    assert (names(second), second.remaining, second.revision) == (["p2", "p3"], 1, 6)
    third = await pods.cache.list(PODS, limit=2, continue_token=second.continue_token)
    assert (names(third), third.remaining, third.continue_token) == (["p4"], None, "")
    assert third.revision == 6
    whole = await pods.cache.list(PODS, limit=9)
    assert (whole.remaining, whole.continue_token) == (None, "")


async def test_a_page_of_a_selection_does_not_count_what_remains(pods: Pods) -> None:
    for i in range(6):
        await pods.create(f"p{i}", parity=str(i % 2))
    odd = LabelSelector.parse("parity=1")
    first = await pods.cache.list(PODS, selector=odd, limit=2)
    assert (names(first), first.remaining) == (["p1", "p3"], None)
    assert first.continue_token
    await pods.create("p55", parity="1")
    second = await pods.cache.list(PODS, selector=odd, limit=2, continue_token=first.continue_token)
    assert (names(second), second.continue_token) == (["p5"], "")


async def test_the_continue_token_is_upstreams(pods: Pods) -> None:
    for i in range(2):
        await pods.create(f"p{i}")
    page = await pods.cache.list(f"{PODS}default/", limit=1)
    padded = page.continue_token + "=" * (-len(page.continue_token) % 4)
    assert orjson.loads(base64.urlsafe_b64decode(padded)) == {
        "v": "meta.k8s.io/v1",
        "rv": 3,
        "start": "p0\x00",
    }


async def test_exact_shows_the_past_and_not_older_than_the_present(pods: Pods) -> None:
    first = await pods.create("a")
    await pods.create("b")
    for past in (
        await pods.cache.list(PODS, resource_version="2", match="Exact"),
        await pods.cache.list(PODS, resource_version="2", limit=10),
    ):
        assert (names(past), past.revision) == (["a"], 2)
        assert past.items[0].mod_revision == first.mod_revision
    for present in (
        await pods.cache.list(PODS, resource_version="2"),
        await pods.cache.list(PODS, resource_version="2", match="NotOlderThan", limit=10),
        await pods.cache.list(PODS, resource_version="0"),
    ):
        assert (names(present), present.revision) == (["a", "b"], 3)


async def test_any_version_ignores_the_limit(pods: Pods) -> None:
    for i in range(3):
        await pods.create(f"p{i}")
    assert len((await pods.cache.list(PODS, resource_version="0", limit=1)).items) == 3
    page = await pods.cache.list(PODS, resource_version="2", match="NotOlderThan", limit=1)
    assert (len(page.items), page.remaining) == (1, 2)


async def test_what_left_the_window_is_read_from_the_store(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await pods.create("a", v="0")
    pods.cache._state._max_steps = 1
    for i in range(1, 4):
        pod = await pods.relabel(pod, v=str(i))
    past = await pods.cache.list(PODS, resource_version="2", match="Exact")
    assert past.items[0].labels == {"v": "0"}
    assert orjson.loads(past.items[0].json())["metadata"]["resourceVersion"] == "2"


async def test_a_compacted_revision_is_expired(pods: Pods) -> None:
    made = [await pods.create(f"p{i}") for i in range(3)]
    first = await pods.cache.list(PODS, limit=1)
    await pods.delete(made[2])
    await pods.store.compact(await pods.store.revision())
    pods.cache._state.forget_before(5)
    with pytest.raises(StatusError) as refused:
        await pods.cache.list(PODS, resource_version="3", match="Exact")
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    assert refused.value.message == "The resourceVersion for the provided list is too old."
    with pytest.raises(StatusError) as refused:
        await pods.cache.list(PODS, limit=1, continue_token=first.continue_token)
    assert refused.value.code == 410
    assert refused.value.message.startswith("The provided continue parameter is too old to display")
    fresh = refused.value.status()["metadata"]["continue"]
    rest = await pods.cache.list(PODS, continue_token=fresh)
    assert (names(rest), rest.revision) == (["p1"], 5)


async def test_what_the_store_compacted_is_expired_though_the_cache_still_has_it(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await pods.create("p")
    for i in range(3):
        pod = await pods.relabel(pod, v=str(i))
    monkeypatch.setattr(pods.caches, "compacted", 3)
    found = await pods.cache.list(PODS, resource_version="3", match="Exact")
    assert found.items[0].mod_revision == 3
    with pytest.raises(StatusError) as refused:
        await pods.cache.list(PODS, resource_version="2", match="Exact")
    assert refused.value.code == 410


async def test_a_future_revision_times_out(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.apiserver.cache.feed.REACH_SECONDS", 0.01)
    for options in ({}, {"match": "Exact"}, {"match": "NotOlderThan"}, {"limit": 5}):
        with pytest.raises(StatusError) as refused:
            await pods.cache.list(PODS, resource_version="100", **options)  # type: ignore[arg-type]
        assert refused.value.status() == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "Timeout: Too large resource version: 100, current: 1",
            "reason": "Timeout",
            "details": {
                "causes": [
                    {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
                ],
                "retryAfterSeconds": 1,
            },
            "code": 504,
        }


async def test_a_revision_that_comes_in_time_is_waited_for(pods: Pods) -> None:
    waiting = asyncio.create_task(pods.cache.list(PODS, resource_version="3"))
    await pods.create("a")
    await pods.create("b")
    assert names(await waiting) == ["a", "b"]


@pytest.mark.parametrize(
    ("version", "match", "continue_token", "message"),
    [
        (
            "",
            "Exact",
            "",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless "
            "resourceVersion is provided",
        ),
        (
            "5",
            "Exact",
            "x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is "
            "provided",
        ),
        (
            "5",
            "Newest",
            "",
            'resourceVersionMatch: Unsupported value: "Newest": supported values: "Exact", '
            '"NotOlderThan", ""',
        ),
        (
            "0",
            "Exact",
            "",
            'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for '
            'resourceVersion "0"',
        ),
    ],
)
async def test_combinations_that_make_no_sense_are_invalid(
    pods: Pods, version: str, match: str, continue_token: str, message: str
) -> None:
    with pytest.raises(StatusError) as refused:
        await pods.cache.list(
            PODS, resource_version=version, match=match, continue_token=continue_token
        )
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert refused.value.message == f'ListOptions.meta.k8s.io "" is invalid: {message}'


@pytest.mark.parametrize(
    "text",
    [
        "%%%",
        "a",
        "é",
        "A" * 100_000,
        base64.urlsafe_b64encode(b"nonsense").decode(),
        token(v="meta.k8s.io/v1"),
        token(v="meta.k8s.io/v1", rv=0, start="a"),
        token(v="meta.k8s.io/v1", rv=3, start=""),
        token(v="meta.k8s.io/v1", rv=3, start="../secrets/a"),
        token(v="meta.k8s.io/v1", rv=3, start="//a"),
        token(v="meta.k8s.io/v1", rv=3, start="a/./b"),
        token(v="meta.k8s.io/v1", rv="3", start="a"),
        token(v="meta.k8s.io/v1", rv=3, start=["a"]),
        token(v="meta.k8s.io/v1", rv=True, start="a"),
        token(v="meta.k8s.io/v2", rv=3, start="a"),
        base64.urlsafe_b64encode(b"[1]").decode(),
    ],
)
async def test_absurd_continue_tokens_are_bad_requests(pods: Pods, text: str) -> None:
    with pytest.raises(StatusError) as refused:
        await pods.cache.list(PODS, continue_token=text)
    assert refused.value.code == 400
    assert refused.value.message.startswith("invalid continue token: continue key is not valid")


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "٣", "1" * 30])
async def test_absurd_resource_versions_are_bad_requests(pods: Pods, version: str) -> None:
    with pytest.raises(StatusError) as refused:
        await pods.cache.list(PODS, resource_version=version)
    assert refused.value.code == 400
    assert refused.value.message.startswith(
        "invalid resource version: resourceVersion: Invalid value: "
    )


async def test_a_continue_token_admits_no_version_beside_it(pods: Pods) -> None:
    for i in range(2):
        await pods.create(f"p{i}")
    page = await pods.cache.list(PODS, limit=1)
    with pytest.raises(StatusError, match="not allowed when using continue") as refused:
        await pods.cache.list(PODS, continue_token=page.continue_token, resource_version="2")
    assert refused.value.code == 400
    rest = await pods.cache.list(PODS, continue_token=page.continue_token, resource_version="0")
    assert names(rest) == ["p1"]
