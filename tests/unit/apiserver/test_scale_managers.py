"""The managers of a Scale are those of its object that own the replicas, and go back into it."""

from typing import Any

from kybern.apiserver.subresources.scale_managers import managers_of_object, managers_of_scale

PATHS = {"apps/v1": ("spec", "replicas")}
REPLICAS = {"f:spec": {"f:replicas": {}}}


def entry(manager: str, fields: Any, operation: str = "Update", **more: str) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


HELD = [
    entry("applier", {"f:spec": {"f:paused": {}, "f:replicas": {}}}, "Apply"),
    entry("labeller", {"f:metadata": {"f:labels": {"f:a": {}}}}),
]


def test_a_scale_shows_the_managers_of_the_replicas() -> None:
    [shown] = managers_of_scale(HELD, PATHS)
    assert (shown["manager"], shown["apiVersion"]) == ("applier", "autoscaling/v1")
    assert shown["fieldsV1"] == REPLICAS


def test_an_update_of_the_scale_takes_the_replicas() -> None:
    scaled = [entry("scaler", REPLICAS, apiVersion="autoscaling/v1", subresource="scale")]
    applier, labeller, scaler = sorted(
        managers_of_object(HELD, scaled, "apps/v1", PATHS), key=lambda held: held["manager"]
    )
    assert applier["fieldsV1"] == {"f:spec": {"f:paused": {}}}
    assert labeller == HELD[1]
    assert scaler["fieldsV1"] == REPLICAS
    assert (scaler["apiVersion"], scaler["subresource"]) == ("apps/v1", "scale")
    assert "time" not in scaler


def test_who_keeps_the_replicas_stays_as_it_was() -> None:
    assert managers_of_object(HELD, managers_of_scale(HELD, PATHS), "apps/v1", PATHS) == HELD
