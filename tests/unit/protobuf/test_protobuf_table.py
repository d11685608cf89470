"""Every field of every served kind has a number, so that nothing is lost on the way."""

from collections.abc import Iterator
from importlib.resources import files

import pytest

from kybern.api.kinds import ServedKind, builtin_registry
from kybern.api.protobuf.table import META, fields_of, has_form, message_of
from kybern.api.schema.definitions import definition, definition_of_kind, referenced

SERVED = [served for kind in builtin_registry().kinds() for served in kind.served()]
# What protobuf puts into its envelope.
ENVELOPE = {"kind", "apiVersion"}


def _definition_of(message: str) -> str | None:
    """The definition that a message stands for, if it is one with properties."""
    name = "io.k8s." + message.replace("_", "-")
    try:
        found = definition(name)
    except KeyError:
        return None
    return name if "properties" in found else None


def _names(message: str) -> set[str]:
    """The JSON fields that a message can carry, those of messages inside it included."""
    names: set[str] = set()
    for field in fields_of(message).values():
        names |= _names(field.type) if field.label == ">" else {field.name}
    return names


def _reached(name: str, seen: set[str]) -> Iterator[str]:
    """All definitions with properties that a definition leads to."""
    if name in seen:
        return
    seen.add(name)
    if "properties" in definition(name):
        yield name
    for schema in definition(name).get("properties", {}).values():
        for found in _references(schema):
            yield from _reached(found, seen)


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        name = referenced(schema)
        if name is not None:
            yield name
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _message_of_definition(name: str) -> str:
    return name.removeprefix("io.k8s.").replace("-", "_")


@pytest.mark.parametrize("served", SERVED, ids=repr)
def test_a_served_kind_has_a_message(served: ServedKind) -> None:
    assert has_form(served.api_version, served.kind.kind)


def test_every_property_of_every_served_definition_has_a_number() -> None:
    missing: dict[str, set[str]] = {}
    seen: set[str] = set()
    for served in SERVED:
        root = definition_of_kind(served.group, served.version, served.kind.kind)
        for name in _reached(root, seen):
            kinds = definition(name).get("x-kubernetes-group-version-kind")
            known = _names(_message_of_definition(name)) | (ENVELOPE if kinds else set())
            gap = set(definition(name)["properties"]) - known
            if gap:
                missing[name] = gap
    assert len(seen) > 400
    assert missing == {}


def test_fields_have_the_names_that_they_have_in_json() -> None:
    table = files("kybern.api.protobuf").joinpath("field_numbers.txt").read_text()
    messages = [line.split()[0] for line in table.splitlines() if not line.startswith("#")]
    compared = [(message, name) for message in messages if (name := _definition_of(message))]
    strange = {
        message: names
        for message, name in compared
        if (names := _names(message) - set(definition(name)["properties"]))
    }
    assert len(compared) > 400
    assert strange == {}


def test_numbers_and_names_are_not_given_twice() -> None:
    for served in SERVED:
        fields = fields_of(message_of(served.api_version, served.kind.kind)).values()
        assert len({field.name for field in fields}) == len(fields)


def test_a_list_is_made_like_all_lists() -> None:
    assert fields_of(message_of("v1", "PodList"))[2].type == "api.core.v1.Pod"
    assert fields_of(message_of("meta.k8s.io/v1", "PartialObjectMetadataList"))[2].type == (
        f"{META}.PartialObjectMetadata"
    )
    assert fields_of(message_of("meta.k8s.io/v1beta1", "PartialObjectMetadataList"))[1].label == "*"


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [("example.com/v1", "Widget"), ("apps.example.com/v1", "Deployment"), ("v1", "Widget")],
)
def test_other_kinds_have_no_form(api_version: str, kind: str) -> None:
    assert not has_form(api_version, kind)
