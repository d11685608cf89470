"""Requests that are wrong for certain: refused in the 4xx range, with nothing stored."""

from collections.abc import AsyncIterator

import pytest_asyncio
from judge import Judge, Question, judged_server
from malformed import (
    CONTENT_TYPES,
    DELETE_OPTIONS,
    HEAVY,
    JSON_BODIES,
    PATCHES,
    PATHS,
    QUERIES,
    REPLACED,
    YAML_BODIES,
)

CORE = "/api/v1/namespaces/default"
HELD = f"{CORE}/configmaps/held"
APPS = "/apis/apps/v1/namespaces/default"
# Where bodies are read: collections, objects, subresources, and kinds that are only answered.
TARGETS = (
    *(("POST", f"{CORE}/{plural}") for plural in ("configmaps", "pods", "services", "secrets")),
    ("POST", f"{APPS}/deployments"),
    ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ("POST", f"{CORE}/serviceaccounts/default/token"),
    ("POST", f"{CORE}/pods/held/binding"),
    ("POST", f"{CORE}/pods/held/eviction"),
    ("PUT", HELD),
    ("PUT", f"{CORE}/pods/held/status"),
    ("PUT", f"{APPS}/deployments/held/scale"),
)


@pytest_asyncio.fixture
async def judge() -> AsyncIterator[Judge]:
    async with judged_server() as made:
        spec = {"containers": [{"name": "c", "image": "i"}]}
        labels = {"a": "b"}
        template = {"metadata": {"labels": labels}, "spec": spec}
        held = {"metadata": {"name": "held"}}
        for path, body in (
            (f"{CORE}/configmaps", {**held, "data": {"a": "b"}}),
            (f"{CORE}/pods", {**held, "spec": spec}),
            (
                f"{APPS}/deployments",
                {**held, "spec": {"selector": {"matchLabels": labels}, "template": template}},
            ),
        ):
            assert (await made.ask(Question("POST", path, {}, body))).status == 201
        yield made


async def refused(judge: Judge, question: Question) -> None:
    answer = await judge.ask(question)
    assert 400 <= answer.status < 500, f"{question}\n{answer.status} {answer.body[:500]!r}"


async def test_malformed_bodies(judge: Judge) -> None:
    for media_type, bodies in (
        ("application/json", JSON_BODIES),
        ("application/yaml", YAML_BODIES),
        ("application/vnd.kubernetes.protobuf", JSON_BODIES),
    ):
        for body in bodies.values():
            for method, path in TARGETS[:1] if body in HEAVY else TARGETS:
                # Strict, so that fields of other kinds are no reason to take an object.
                query = {"fieldValidation": "Strict"}
                await refused(judge, Question(method, path, query, body, media_type))


async def test_duplicate_keys_are_refused_where_validation_is_strict(judge: Judge) -> None:
    twice = b'{"metadata":{"name":"x","name":"y"}}'
    for body, media_type in ((twice, "application/json"), (twice, "application/yaml")):
        query = {"fieldValidation": "Strict"}
        await refused(judge, Question("POST", f"{CORE}/configmaps", query, body, media_type))


async def test_malformed_patches(judge: Judge) -> None:
    for media_type, bodies in PATCHES.items():
        query = {"fieldManager": "m", "force": "true"} if "apply" in media_type else {}
        for body in (*bodies, *JSON_BODIES.values()):
            await refused(judge, Question("PATCH", HELD, query, body, media_type))


async def test_malformed_delete_options(judge: Judge) -> None:
    for body in DELETE_OPTIONS:
        await refused(judge, Question("DELETE", HELD, {}, body))


async def test_broken_unicode_makes_no_name(judge: Judge) -> None:
    for body in REPLACED:
        for method, path in TARGETS[:6]:
            await refused(judge, Question(method, path, {}, body))


async def test_absurd_queries(judge: Judge) -> None:
    for query in QUERIES:
        await refused(judge, Question("GET", f"{CORE}/pods", query))
        if "watch" not in query and "sendInitialEvents" not in query:
            await refused(judge, Question("DELETE", f"{CORE}/pods", query))


async def test_a_version_from_the_future_is_a_timeout_that_says_so(judge: Judge) -> None:
    answer = await judge.ask(Question("GET", f"{CORE}/pods", {"resourceVersion": "99999999"}))
    assert answer.status == 504 and b"Too large resource version" in answer.body


async def test_unknown_content_types(judge: Judge) -> None:
    for media_type in CONTENT_TYPES:
        body = b'{"metadata":{"name":"x"}}'
        await refused(judge, Question("POST", f"{CORE}/configmaps", {}, body, media_type))
        await refused(judge, Question("PATCH", HELD, {}, body, media_type))


async def test_strange_paths(judge: Judge) -> None:
    for path in PATHS:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            body = None if method == "GET" else b'{"metadata":{"name":"x"}}'
            await refused(judge, Question(method, path, {}, body))
