"""Protobuf bodies become the JSON that they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.protobuf import MalformedProtobuf, decode


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = _bytes(1, api_version.encode()) + _bytes(2, kind.encode())
    return b"k8s\x00" + _bytes(1, type_meta) + _bytes(2, raw)


def test_maps_bytes_and_times() -> None:
    time = _number(1, 1_700_000_000)
    metadata = _bytes(1, b"s") + _bytes(8, time) + _bytes(11, _bytes(1, b"k") + _bytes(2, b"v"))
    data = _bytes(1, b"key") + _bytes(2, b"value")
    body = _envelope("v1", "Secret", _bytes(1, metadata) + _bytes(2, data) + _number(5, 1))
    assert decode(body) == {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {
            "name": "s",
            "creationTimestamp": "2023-11-14T22:13:20Z",
            "labels": {"k": "v"},
        },
        "data": {"key": "dmFsdWU="},
        "immutable": True,
    }


def test_inlined_messages_ports_and_quantities() -> None:
    secret = _bytes(1, b"certs")
    volume = _bytes(1, b"v") + _bytes(2, _bytes(6, secret))
    requests = _bytes(2, _bytes(1, b"cpu") + _bytes(2, _bytes(1, b"100m")))
    http = _bytes(2, _bytes(2, _number(1, 1) + _bytes(3, b"web")))
    probe = _bytes(1, http) + _number(2, 2**64 - 1)
    container = _bytes(1, b"c") + _bytes(8, requests) + _bytes(10, probe)
    spec = _bytes(1, volume) + _bytes(2, container)
    pod = decode(_envelope("v1", "Pod", _bytes(2, spec)))
    assert pod["spec"] == {
        "volumes": [{"name": "v", "secret": {"secretName": "certs"}}],
        "containers": [
            {
                "name": "c",
                "resources": {"requests": {"cpu": "100m"}},
                "livenessProbe": {"httpGet": {"port": "web"}, "initialDelaySeconds": -1},
            }
        ],
    }


def test_delete_options_belong_to_every_group() -> None:
    body = _envelope("apps/v1", "DeleteOptions", _number(1, 5))
    assert decode(body)["gracePeriodSeconds"] == 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00\xff",
        _envelope("v1", "Nope", b""),
        _envelope("v1", "Pod", b"\x12\xff\x01"),
        _envelope("v1", "Pod", b"\x0b"),
        _envelope("v1", "Secret", _bytes(1, _bytes(1, b"\xff"))),
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedProtobuf):
        decode(body)


@given(st.binary(max_size=200), st.sampled_from(["Pod", "Secret", "Service", "Event", "Node"]))
def test_any_bytes_decode_or_are_refused(raw: bytes, kind: str) -> None:
    try:
        decoded = decode(_envelope("v1", kind, raw))
    except MalformedProtobuf:
        return
    assert decoded["kind"] == kind


def test_a_year_has_four_digits() -> None:
    acquired = _number(1, -62135596800 & (1 << 64) - 1) + _number(2, 5000)
    body = _envelope("coordination.k8s.io/v1", "Lease", _bytes(2, _bytes(3, acquired)))
    assert decode(body)["spec"]["acquireTime"] == "0001-01-01T00:00:00.000005Z"


def test_what_a_schema_does_not_say_is_left_out() -> None:
    item = _bytes(4, b"") + _bytes(5, b"string") + _number(10, 0) + _number(18, 1)
    schema = _bytes(5, b"array") + _bytes(7, b"") + _bytes(24, _bytes(1, item))
    version = _bytes(1, b"v1") + _bytes(4, _bytes(1, schema))
    raw = _bytes(2, _bytes(7, version))
    body = _envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", raw)
    [found] = decode(body)["spec"]["versions"]
    items = {"type": "string", "uniqueItems": True}
    assert found["schema"]["openAPIV3Schema"] == {"type": "array", "items": items}
