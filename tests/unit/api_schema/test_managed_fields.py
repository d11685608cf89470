"""managedFields and server-side apply. Expectations are kube-apiserver's for the same writes."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.api.errors import StatusError
from kybern.api.managed_fields import apply, track
from kybern.api.managed_fields.field_set import FieldSet, printed_path
from kybern.api.schema import schema_for

SCHEMA = schema_for("apps", "v1", "Deployment")
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def config(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "labels": {"a": "b"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
            **spec,
        },
    }


def with_containers(*containers: dict[str, Any]) -> dict[str, Any]:
    return config(
        template={"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}}
    )


def record(old: Any, new: Any, manager: str, now: str = EARLY, subresource: str = "") -> Any:
    new = copy.deepcopy(new)
    track(
        old,
        new,
        schema=SCHEMA,
        manager=manager,
        api_version="apps/v1",
        now=now,
        subresource=subresource,
    )
    return new


def applied(
    live: Any, configuration: Any, manager: str, force: bool = False, now: str = EARLY
) -> Any:
    before = copy.deepcopy((live, configuration))
    result = apply(
        live,
        configuration,
        schema=SCHEMA,
        manager=manager,
        force=force,
        api_version="apps/v1",
        now=now,
    )
    assert (live, configuration) == before
    return result


def entries(obj: Any) -> dict[str, Any]:
    return {entry["manager"]: entry for entry in obj["metadata"].get("managedFields", ())}


def owned(obj: Any, manager: str) -> list[str]:
    fields = FieldSet.from_json(entries(obj)[manager]["fieldsV1"])
    return [printed_path(path) for path in fields.paths()]


def created() -> Any:
    ports = [{"containerPort": 80}]
    obj = SCHEMA.normalise(with_containers({"name": "c", "image": "i", "ports": ports}))
    obj = record(None, obj, "creator")
    obj["metadata"]["uid"] = "u"
    return obj


def test_a_create_owns_all_that_it_set() -> None:
    [entry] = created()["metadata"]["managedFields"]
    assert entry == {
        "manager": "creator",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": EARLY,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"c"}': {
                                ".": {},
                                "f:image": {},
                                "f:name": {},
                                "f:ports": {
                                    ".": {},
                                    'k:{"containerPort":80,"protocol":"TCP"}': {
                                        ".": {},
                                        "f:containerPort": {},
                                    },
                                },
                                "f:resources": {},
                            }
                        }
                    },
                },
            },
        },
    }


def test_an_update_takes_what_it_changes_and_only_then_moves_the_time() -> None:
    old = created()
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 3
    scaled = record(old, new, "scaler", LATE)
    assert owned(scaled, "scaler") == [".spec.replicas"]
    assert ".spec.replicas" not in owned(scaled, "creator")
    assert entries(scaled)["creator"]["time"] == EARLY
    assert record(scaled, scaled, "scaler", "2027-01-01T00:00:00Z") == scaled


def test_removed_fields_belong_to_nobody() -> None:
    old = created()
    new = copy.deepcopy(old)
    del new["metadata"]["labels"]
    changed = record(old, new, "other")
    assert "other" not in entries(changed)
    assert not any(path.startswith(".metadata") for path in owned(changed, "creator"))


def test_status_is_owned_through_the_status_subresource_only() -> None:
    old = created()
    new = copy.deepcopy(old)
    new["status"] = {"replicas": 1}
    assert record(old, new, "controller") == {**new, "metadata": old["metadata"]}
    changed = record(old, new, "controller", subresource="status")
    assert owned(changed, "controller") == [".status.replicas"]
    assert entries(changed)["controller"]["subresource"] == "status"
    new["spec"]["replicas"] = 9
    assert owned(record(old, new, "controller", subresource="status"), "controller") == [
        ".status.replicas"
    ]


def test_an_empty_entry_resets_and_untracked_objects_stay_untracked() -> None:
    old = created()
    reset = copy.deepcopy(old)
    reset["metadata"]["managedFields"] = [{}]
    untracked = record(old, reset, "creator")
    assert "managedFields" not in untracked["metadata"]
    changed = copy.deepcopy(untracked)
    changed["spec"]["replicas"] = 7
    assert "managedFields" not in record(untracked, changed, "any")["metadata"]


def test_old_update_managers_are_folded() -> None:
    obj = created()
    for number in range(14):
        new = copy.deepcopy(obj)
        new["metadata"]["labels"][f"l{number}"] = "x"
        obj = record(obj, new, f"m{number:02}", f"2026-01-01T00:01:{number:02}Z")
    managers = entries(obj)
    assert len(managers) == 10
    assert "ancient-changes" in managers
    assert ".metadata.labels.l0" in owned(obj, "ancient-changes")
    assert "m13" in managers


def test_apply_creates_and_owns_exactly_what_it_names() -> None:
    obj = applied(None, config(), "one")
    assert obj["spec"]["replicas"] == 1
    assert owned(obj, "one") == [
        ".metadata.labels.a",
        ".spec.replicas",
        ".spec.selector",
        ".spec.template.metadata.labels.a",
        '.spec.template.spec.containers[name="c"]',
        '.spec.template.spec.containers[name="c"].image',
        '.spec.template.spec.containers[name="c"].name',
    ]
    assert entries(obj)["one"]["operation"] == "Apply"


def test_equal_values_are_shared_without_a_conflict() -> None:
    obj = applied(applied(None, config(), "one"), config(), "two", now=LATE)
    assert owned(obj, "one") == owned(obj, "two")
    # Nothing changed, so the newcomer's entry has no time, as upstream has it.
    assert "time" not in entries(obj)["two"]


def test_conflicts_name_managers_and_fields() -> None:
    obj = created()
    scaled = copy.deepcopy(obj)
    scaled["spec"]["replicas"] = 5
    obj = record(obj, scaled, "scaler")
    with pytest.raises(StatusError) as caught:
        applied(obj, config(), "one")
    assert caught.value.code == 409
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas'
    )
    assert caught.value.details == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "scaler" using apps/v1',
                "field": ".spec.replicas",
            }
        ]
    }
    with pytest.raises(StatusError) as caught:
        image = with_containers({"name": "c", "image": "other"})
        applied(obj, image, "one")
    assert caught.value.message == (
        'Apply failed with 2 conflicts: conflicts with "creator" using apps/v1:\n'
        '- .spec.template.spec.containers[name="c"].image\n'
        'conflicts with "scaler" using apps/v1:\n- .spec.replicas'
    )


def test_force_takes_over() -> None:
    obj = applied(applied(None, config(), "one"), config(replicas=5), "two", force=True)
    assert obj["spec"]["replicas"] == 5
    assert ".spec.replicas" in owned(obj, "two")
    assert ".spec.replicas" not in owned(obj, "one")


def test_fields_go_when_their_last_owner_gives_them_up() -> None:
    both = with_containers({"name": "z", "image": "q"}, {"name": "c", "image": "i"})
    obj = applied(applied(None, both, "one"), both, "two")
    names = [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]]
    assert names == ["z", "c"]
    obj = applied(obj, config(), "one")
    assert len(obj["spec"]["template"]["spec"]["containers"]) == 2
    obj = applied(obj, config(), "two")
    assert obj["spec"]["template"]["spec"]["containers"] == [{"name": "c", "image": "i"}]


def test_what_others_set_inside_an_item_survives() -> None:
    obj = SCHEMA.normalise(applied(None, config(), "one"))
    other = copy.deepcopy(obj)
    other["spec"]["template"]["spec"]["containers"][0]["tty"] = True
    obj = record(obj, other, "editor")
    obj = applied(obj, with_containers({"name": "c"}), "one")
    [container] = obj["spec"]["template"]["spec"]["containers"]
    assert container == {"name": "c", "tty": True, "resources": {}}


def test_kubectl_may_take_over_its_own_client_side_apply() -> None:
    last = config(replicas=2)
    live = SCHEMA.normalise(last)
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    import orjson

    live["metadata"]["annotations"] = {annotation: orjson.dumps(last).decode()}
    live = record(None, live, "kubectl-client-side-apply")
    with pytest.raises(StatusError, match="conflict"):
        applied(live, config(replicas=3), "other")
    result = applied(live, config(replicas=3), "kubectl")
    assert result["spec"]["replicas"] == 3
    assert orjson.loads(result["metadata"]["annotations"][annotation]) == config(replicas=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": {"foo": 1}}, "n/d; apps/v1, Kind=Deployment): .spec.foo: field not declared"),
        ({"spec": {"replicas": "x"}}, ".spec.replicas: expected numeric (int or float), got str"),
        ({"spec": {"template": "x"}}, ".spec.template: expected map, got &{x}"),
        ({"spec": {"paused": 1}}, ".spec.paused: expected boolean, got &{1}"),
        (
            {"spec": {"template": {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}}},
            '.spec.template.spec.containers: duplicate entries for key [name="c"]',
        ),
        ({"kind": "Foo"}, "invalid object type"),
        ({"metadata": {"managedFields": []}}, "metadata.managedFields must be nil"),
    ],
)
def test_configurations_that_are_not_of_their_type_are_refused(change: Any, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        applied(
            None,
            {**config(), **change}
            if "spec" not in change
            else {**config(), "spec": change["spec"]},
            "one",
        )
    assert caught.value.code == 400
    assert message in caught.value.message


_labels = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("xy"), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["one", "two", "edit"]), _labels), max_size=6))
def test_labels_are_the_union_of_what_is_owned(writes: list[tuple[str, dict[str, str]]]) -> None:
    live = applied(None, config(), "base")
    for manager, labels in writes:
        if manager == "edit":
            new = copy.deepcopy(live)
            new["metadata"]["labels"] = {**new["metadata"].get("labels", {}), **labels}
            live = record(live, new, manager)
        else:
            wanted = config()
            wanted["metadata"]["labels"] = labels
            live = applied(live, wanted, manager, force=True)
        paths = {path for manager in entries(live) for path in owned(live, manager)}
        for label in live["metadata"].get("labels", {}):
            assert f".metadata.labels.{label}" in paths


def test_field_sets_survive_their_written_form() -> None:
    written = {
        "f:a": {".": {}, "f:b": {}},
        "f:c": {'k:{"name":"x","port":1}': {".": {}, 'v:"y"': {}}, "i:0": {}},
    }
    fields = FieldSet.from_json(written)
    assert fields.to_json() == written
    assert [printed_path(path) for path in fields.paths()] == [
        ".a",
        ".a.b",
        ".c[0]",
        '.c[name="x",port=1]',
        '.c[name="x",port=1][="y"]',
    ]
    for bad in ({"x:a": {}}, {"f:a": 1}, {"k:{": {}}, []):
        with pytest.raises(ValueError):
            FieldSet.from_json(bad)


def test_managers_of_versions_that_are_gone_are_forgotten() -> None:
    live = record(None, config(), "m")
    live["metadata"]["uid"] = "u"
    live["metadata"]["managedFields"][0]["apiVersion"] = "apps/v1beta1"
    new = copy.deepcopy(live)
    new["spec"]["replicas"] = 2
    known = {"apps/v1": SCHEMA}

    def convert(obj: Any, version: str) -> Any:
        return (known[version], obj) if version in known else None

    track(live, new, schema=SCHEMA, manager="w", api_version="apps/v1", now=LATE, convert=convert)
    [entry] = new["metadata"]["managedFields"]
    assert (entry["manager"], entry["fieldsV1"]) == ("w", {"f:spec": {"f:replicas": {}}})


def test_another_versions_manager_loses_fields_under_its_own_names() -> None:
    live = record(None, config(), "m")
    live["metadata"]["uid"] = "u"
    [entry] = live["metadata"]["managedFields"]
    entry["apiVersion"], entry["fieldsV1"] = "apps/v0", {"f:spec": {"f:paused": {}}}
    new = copy.deepcopy(live)
    new["spec"]["replicas"] = 2

    def convert(obj: Any, version: str) -> Any:
        """In v0 the replicas are called ``paused``."""
        spec = {**obj["spec"], "paused": obj["spec"].get("replicas") == 2}
        return SCHEMA, {**obj, "spec": spec}

    track(live, new, schema=SCHEMA, manager="w", api_version="apps/v1", now=LATE, convert=convert)
    assert [entry["manager"] for entry in new["metadata"]["managedFields"]] == ["w"]


def test_an_object_whose_items_nobody_can_tell_apart_is_not_tracked() -> None:
    schema = schema_for("", "v1", "ServiceAccount")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
    account["secrets"] = [{"namespace": "n"}]  # type: ignore[assignment]
    track(None, account, schema=schema, manager="m", api_version="v1", now=EARLY)
    assert "managedFields" not in account["metadata"]


def test_raw_data_has_one_owner() -> None:
    schema = schema_for("apps", "v1", "ControllerRevision")
    revision = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "a"}}
    revision |= {"data": {"a": 1}, "revision": 1}  # type: ignore[assignment]
    result = apply(
        None, revision, schema=schema, manager="m", force=False, api_version="apps/v1", now=EARLY
    )
    [entry] = result["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:data": {}, "f:revision": {}}
