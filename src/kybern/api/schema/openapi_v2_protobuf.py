"""The OpenAPI v2 document in protobuf, as the gnostic project defines it.

kubectl before 1.27 asks for it with ``com.github.proto-openapi.spec.v2@v1.0+protobuf``. A small
writer of our own, driven by the field numbers below: the document is a plain dict, and only the
parts that it uses have entries.
"""

from typing import Any

from kybern.api import yaml

Obj = dict[str, Any]

_VARINT, _BYTES = 0, 2


def openapi_v2_protobuf(doc: Obj) -> bytes:
    """Encode the document of ``openapi_v2``."""
    return b"".join(
        (
            _text(1, doc["swagger"]),
            _message(2, _info(doc["info"])),
            _message(
                8, b"".join(_message(2, _named(n, _path_item(p))) for n, p in _of(doc, "paths"))
            ),
            _message(9, _schemas(doc["definitions"])),
            *(_message(12, _security(requirement)) for requirement in doc.get("security", ())),
            _message(13, _security_definitions(doc.get("securityDefinitions", {}))),
            _extensions(16, doc),
        )
    )


def _of(value: Obj, member: str) -> list[tuple[str, Any]]:
    return list(value.get(member, {}).items())


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _message(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(payload)) + payload


def _text(field: int, value: str | None) -> bytes:
    return _message(field, value.encode()) if value else b""


def _texts(field: int, values: list[str] | None) -> bytes:
    # Elements of a repeated field are written even if empty, else they would be lost.
    return b"".join(_message(field, value.encode()) for value in values or ())


def _flag(field: int, value: bool | None) -> bytes:
    return _varint(field << 3 | _VARINT) + b"\x01" if value else b""


def _named(name: str, payload: bytes) -> bytes:
    """Entries of every map: the name, then the value."""
    return _text(1, name) + _message(2, payload)


def _extensions(field: int, value: Obj) -> bytes:
    """``x-`` members, whose values travel as YAML text."""
    return b"".join(
        _message(field, _named(name, _text(2, yaml.dump(item))))
        for name, item in value.items()
        if name.startswith("x-")
    )


def _info(info: Obj) -> bytes:
    return _text(1, info["title"]) + _text(2, info["version"])


def _security(requirement: Obj) -> bytes:
    return b"".join(_message(1, _named(n, _texts(1, scopes))) for n, scopes in requirement.items())


def _security_definitions(definitions: Obj) -> bytes:
    return b"".join(
        _message(1, _named(name, _message(2, _api_key(definition))))
        for name, definition in definitions.items()
    )


def _api_key(definition: Obj) -> bytes:
    members = ("type", "name", "in", "description")
    return b"".join(_text(number, definition.get(name)) for number, name in enumerate(members, 1))


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def _paths(paths: Obj) -> bytes:
    return b"".join(_message(2, _named(path, _path_item(item))) for path, item in paths.items())


def _path_item(item: Obj) -> bytes:
    out = [_message(number, _operation(item[m])) for m, number in _METHODS.items() if m in item]
    out += [_message(9, _parameter(parameter)) for parameter in item.get("parameters", ())]
    return b"".join(out)


def _operation(operation: Obj) -> bytes:
    return b"".join(
        (
            _texts(1, operation.get("tags")),
            _text(3, operation.get("description")),
            _text(5, operation.get("operationId")),
            _texts(6, operation.get("produces")),
            _texts(7, operation.get("consumes")),
            *(_message(8, _parameter(parameter)) for parameter in operation.get("parameters", ())),
            _message(9, b"".join(_response(*entry) for entry in _of(operation, "responses"))),
            _texts(10, operation.get("schemes")),
            _extensions(13, operation),
        )
    )


def _response(code: str, response: Obj) -> bytes:
    out = _text(1, response.get("description"))
    if "schema" in response:
        out += _message(2, _message(1, _schema(response["schema"])))
    return _message(1, _named(code, _message(1, out)))


def _parameter(parameter: Obj) -> bytes:
    """A ParametersItem: one of body, query and path parameter."""
    if parameter["in"] == "body":
        body = (
            _text(1, parameter.get("description"))
            + _text(2, parameter["name"])
            + _text(3, parameter["in"])
            + _flag(4, parameter.get("required"))
            + _message(5, _schema(parameter["schema"]))
        )
        return _message(1, _message(1, body))
    in_query = parameter["in"] == "query"
    # Query parameters have one field more before their type (allow_empty_value).
    after = 1 if in_query else 0
    plain = (
        _flag(1, parameter.get("required"))
        + _text(2, parameter["in"])
        + _text(3, parameter.get("description"))
        + _text(4, parameter["name"])
        + _text(5 + after, parameter.get("type"))
        + _flag(19 + after, parameter.get("uniqueItems"))
    )
    return _message(1, _message(2, _message(3 if in_query else 4, plain)))


def _schemas(schemas: Obj) -> bytes:
    return b"".join(_message(1, _named(name, _schema(schema))) for name, schema in schemas.items())


def _schema(schema: Obj) -> bytes:
    out = [
        _text(1, schema.get("$ref")),
        _text(2, schema.get("format")),
        _text(3, schema.get("title")),
        _text(4, schema.get("description")),
        _text(13, schema.get("pattern")),
        _texts(19, schema.get("required")),
    ]
    if "default" in schema:
        out.append(_message(5, _text(2, yaml.dump(schema["default"]))))
    out += [_message(20, _text(2, yaml.dump(value))) for value in schema.get("enum", ())]
    values = schema.get("additionalProperties")
    if values is not None:
        out.append(_message(21, _flag(2, values) if values is True else _inner(values)))
    if "type" in schema:
        out.append(_message(22, _texts(1, [schema["type"]])))
    if "items" in schema:
        out.append(_message(23, _message(1, _schema(schema["items"]))))
    out += [_message(24, _schema(part)) for part in schema.get("allOf", ())]
    if "properties" in schema:
        out.append(_message(25, _schemas(schema["properties"])))
    out.append(_extensions(31, schema))
    return b"".join(out)


def _inner(schema: Any) -> bytes:
    """``additionalProperties``: a schema, or false."""
    return b"" if schema is False else _message(1, _schema(schema))
