"""The three patch formats. Expectations for strategic merge are kube-apiserver's answers."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.errors import StatusError
from kybern.api.patch import json_patch, merge_patch, strategic_merge
from kybern.api.schema import schema_for

DEPLOYMENT = schema_for("apps", "v1", "Deployment")
POD = schema_for("", "v1", "Pod")
DOC = {"a": {}, "l": [1]}


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ({"op": "add", "path": "/a/b", "value": 1}, {"a": {"b": 1}, "l": [1]}),
        ({"op": "add", "path": "/l/-", "value": 2}, {"a": {}, "l": [1, 2]}),
        ({"op": "add", "path": "/l/0", "value": 0}, {"a": {}, "l": [0, 1]}),
        ({"op": "add", "path": "", "value": {"x": 1}}, {"x": 1}),
        ({"op": "remove", "path": "/l/-1"}, {"a": {}, "l": []}),
        ({"op": "replace", "path": "/l/0", "value": 5}, {"a": {}, "l": [5]}),
        ({"op": "replace", "path": "/new", "value": 5}, {"a": {}, "l": [1], "new": 5}),
        ({"op": "move", "from": "/l", "path": "/m~1n"}, {"a": {}, "m/n": [1]}),
        ({"op": "copy", "from": "/l/0", "path": "/l/0"}, {"a": {}, "l": [1, 1]}),
        ({"op": "test", "path": "/l/0", "value": 1.0}, DOC),
        ({"op": "test", "path": "/none", "value": None}, DOC),
    ],
)
def test_json_patch_operations(op: Any, expected: Any) -> None:
    doc = copy.deepcopy(DOC)
    assert json_patch.apply(doc, [op]) == expected
    assert doc == DOC


@pytest.mark.parametrize(
    ("ops", "code", "message"),
    [
        ({}, 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        ([1], 400, "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
        ([{"op": "x", "path": "/a"}], 422, "Unexpected kind: x"),
        ([{"op": "add"}], 422, "add operation failed to decode path: missing value"),
        (
            [{"op": "remove", "path": "/x"}],
            422,
            "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            [{"op": "replace", "path": "/l/3", "value": 1}],
            422,
            "replace operation does not apply: doc is missing key: /l/3: missing value",
        ),
        (
            [{"op": "move", "from": "/x", "path": "/y"}],
            422,
            "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            [{"op": "add", "path": "/x/y", "value": 1}],
            422,
            'add operation does not apply: doc is missing path: "/x/y": missing value',
        ),
        ([{"op": "test", "path": "/l/0", "value": True}], 422, "testing value /l/0 failed"),
        ([{"op": "add", "path": "/l/7", "value": 1}], 422, "error in add for path: '/l/7': Unable"),
        (
            [{"op": "add", "path": "/l/x", "value": 1}],
            422,
            "error in add for path: '/l/x': strc",
        ),
        (
            [{"op": "test", "path": "/a", "value": {}}] * 10_001,
            413,
            "Request entity too large: The",
        ),
    ],
)
def test_json_patch_failures(ops: Any, code: int, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch.apply(copy.deepcopy(DOC), ops)
    assert caught.value.code == code
    assert explanation(caught.value).startswith(message)


def explanation(problem: StatusError) -> str:
    """What went wrong: upstream's message for 422 does not say, so it is a note."""
    if problem.code != 422:
        return problem.message
    assert problem.message == json_patch.REJECTED
    [note] = problem.__notes__
    return note


def test_json_patch_copies_are_bounded() -> None:
    doc = {"l": ["x" * 100_000]}
    with pytest.raises(StatusError) as caught:
        json_patch.apply(doc, [{"op": "copy", "from": "/l", "path": "/l/-"}] * 8)
    assert "accumulated size increase" in explanation(caught.value)


def test_json_patch_cannot_nest_without_bound() -> None:
    deepen = [{"op": "add", "path": "/x" * depth, "value": {}} for depth in range(1, 400)]
    for ops in (deepen, [*deepen, {"op": "copy", "from": "/x", "path": "/y"}]):
        with pytest.raises(StatusError) as caught:
            json_patch.apply({}, ops)
        assert explanation(caught.value) == "exceeded max depth"


def test_merge_patch() -> None:
    doc = {"a": {"b": 1, "c": 2}, "d": [1], "e": 5}
    patch = {"a": {"b": None, "x": {"y": None, "z": 1}}, "d": [2], "e": {"f": None}}
    assert merge_patch.apply(doc, patch) == {"a": {"c": 2, "x": {"z": 1}}, "d": [2], "e": {}}
    with pytest.raises(StatusError, match="Invalid JSON Patch"):
        merge_patch.apply(doc, [])


_json = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=3),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.sampled_from("abc"), v, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(st.sampled_from("abc"), _json, max_size=3)


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            patch[name] = difference(old[name], value)
        elif name not in old or old[name] != value or type(old[name]) is not type(value):
            patch[name] = value
    return patch


@given(_objects, _objects)
def test_a_computed_merge_patch_leads_to_the_new_document(old: Any, new: Any) -> None:
    assert merge_patch.apply(old, difference(old, new)) == new


@given(_objects, _objects)
def test_a_json_patch_leads_to_the_new_document(old: Any, new: Any) -> None:
    ops = [{"op": "remove", "path": f"/{name}"} for name in old]
    ops += [{"op": "add", "path": f"/{name}", "value": value} for name, value in new.items()]
    assert json_patch.apply(old, ops) == new


def deployment(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


CONTAINERS = [
    {"name": "a", "image": "1", "env": [{"name": "E", "value": "v"}]},
    {"name": "b", "image": "2"},
]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (
            {"containers": [{"name": "b", "image": "9"}]},
            [CONTAINERS[0], {"name": "b", "image": "9"}],
        ),
        (
            {
                "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "b", "image": "9"}],
            },
            [{"name": "b", "image": "9"}, CONTAINERS[0]],
        ),
        (
            {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
            [CONTAINERS[1], CONTAINERS[0]],
        ),
        (
            {"containers": [{"name": "a", "$patch": "delete"}, {"name": "c"}]},
            [{"name": "c"}, CONTAINERS[1]],
        ),
        ({"containers": [{"$patch": "replace"}, {"name": "c"}]}, [{"name": "c"}]),
        (
            {"containers": [{"name": "a", "env": [{"name": "E", "$patch": "delete"}]}]},
            [{"name": "a", "image": "1", "env": []}, CONTAINERS[1]],
        ),
        (
            {"containers": [{"name": "a", "env": [{"name": "F", "value": None}]}]},
            [
                {"name": "a", "image": "1", "env": [{"name": "F"}, {"name": "E", "value": "v"}]},
                CONTAINERS[1],
            ],
        ),
        ({"containers": None}, None),
    ],
)
def test_strategic_merge_of_lists_with_a_merge_key(patch: Any, expected: Any) -> None:
    doc = deployment(containers=copy.deepcopy(CONTAINERS))
    merged = strategic_merge.apply(doc, deployment(**patch), DEPLOYMENT)
    assert merged["spec"]["template"]["spec"].get("containers") == expected
    assert doc == deployment(containers=CONTAINERS)


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"finalizers": ["z"]}, ["z", "x", "y"]),
        ({"$deleteFromPrimitiveList/finalizers": ["x"]}, ["y"]),
        (
            {
                "$deleteFromPrimitiveList/finalizers": ["x"],
                "$setElementOrder/finalizers": ["w", "y"],
                "finalizers": ["w"],
            },
            ["w", "y"],
        ),
        ({"finalizers": None}, None),
    ],
)
def test_strategic_merge_of_primitive_lists(patch: Any, expected: Any) -> None:
    merged = strategic_merge.apply(
        {"metadata": {"finalizers": ["x", "y"]}}, {"metadata": patch}, POD
    )
    assert merged["metadata"].get("finalizers") == expected


def test_strategic_merge_replaces_atomic_lists_and_keeps_maps() -> None:
    doc = {"spec": {"tolerations": [{"key": "a"}], "nodeSelector": {"a": "1", "b": "2"}}}
    patch = {"spec": {"tolerations": [{"key": "z"}], "nodeSelector": {"a": None, "c": "3"}}}
    assert strategic_merge.apply(doc, patch, POD) == {
        "spec": {"tolerations": [{"key": "z"}], "nodeSelector": {"b": "2", "c": "3"}}
    }


def test_strategic_merge_of_objects_obeys_directives() -> None:
    doc = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    for directive in ({"$retainKeys": ["type"]}, {"$patch": "replace"}):
        patch = {"spec": {"strategy": {**directive, "type": "Recreate"}}}
        merged = strategic_merge.apply(doc, patch, DEPLOYMENT)
        assert merged == {"spec": {"strategy": {"type": "Recreate"}}}
    emptied = strategic_merge.apply(doc, {"spec": {"strategy": {"$patch": "delete"}}}, DEPLOYMENT)
    assert emptied == {"spec": {"strategy": {}}}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ([], "json: cannot unmarshal array"),
        (deployment(containers=[{"image": "x"}]), "does not contain declared merge key: name"),
        (deployment(containers=["x"]), "list element types are not identical"),
        (
            deployment(containers=[["x"]]),
            "the server rejected our request due to an error in our request",
        ),
        ({"spec": {"$patch": "sideways"}}, "unknown patch type: sideways"),
        ({"spec": {"strategy": {"$retainKeys": ["a"], "b": 1}}}, "invalid patch format of retain"),
        (deployment(**{"$setElementOrder/containers": 1}), "setElementOrder"),
        (
            deployment(
                **{
                    "$setElementOrder/containers": [{"name": "x"}],
                    "containers": [{"name": "b"}],
                }
            ),
            "The order in patch list",
        ),
    ],
)
def test_bad_strategic_merge_patches_are_refused(patch: Any, message: str) -> None:
    doc = deployment(containers=copy.deepcopy(CONTAINERS))
    doc["spec"]["strategy"] = {"type": "Recreate"}
    with pytest.raises(StatusError) as caught:
        strategic_merge.apply(doc, patch, DEPLOYMENT)
    assert caught.value.code in (400, 422)
    assert message in caught.value.message


_patches = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b", "delete"]),
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "template",
                    "containers",
                    "name",
                    "env",
                    "$patch",
                    "$retainKeys",
                    "$setElementOrder/containers",
                    "$deleteFromPrimitiveList/args",
                    "args",
                ]
            ),
            v,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(_patches)
def test_any_patch_applies_or_is_refused(patch: Any) -> None:
    doc = deployment(containers=[{"name": "a", "args": ["a"]}])
    for schema in (DEPLOYMENT, POD):
        try:
            strategic_merge.apply(doc, {"spec": {"template": {"spec": patch}}}, schema)
            strategic_merge.apply(doc, {"spec": patch}, schema)
        except StatusError as problem:
            assert problem.code in (400, 422)
