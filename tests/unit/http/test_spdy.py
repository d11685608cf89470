"""SPDY frames, as the client's side writes and reads them."""

import struct
import zlib

import pytest

from kybern.component.http.spdy import DICTIONARY, Received, SpdyClient, SpdyError

DATA = struct.pack(">II", 1, 5) + b"hello"
LAST = struct.pack(">II", 1, 1 << 24 | 1) + b"!"


def test_streams_are_numbered_and_carry_their_headers() -> None:
    client = SpdyClient()
    inflate = zlib.decompressobj(zdict=DICTIONARY)
    for number, name in ((1, "error"), (3, "stdin")):
        stream, frame = client.open({"Streamtype": name})
        head, size = struct.unpack_from(">II", frame)
        assert (stream, head, size) == (number, 0x80030001, len(frame) - 8)
        assert struct.unpack_from(">IIH", frame, 8) == (number, 0, 0)
        block = inflate.decompress(frame[18:])
        expected = [b"\0\0\0\1", b"\0\0\0\x0a", b"streamtype", struct.pack(">I", len(name))]
        assert block == b"".join(expected) + name.encode()


def test_data_says_whether_it_is_the_last() -> None:
    assert SpdyClient.data(1, b"hello") == DATA
    assert SpdyClient.data(1, b"!", end=True) == LAST


def test_frames_are_found_however_they_are_cut() -> None:
    client, found = SpdyClient(), []
    for byte in DATA + LAST:
        received, answer = client.receive(bytes([byte]))
        found += received
        assert answer == b""
    assert found == [Received(1, b"hello"), Received(1, b"!", ended=True)]


def test_pings_are_answered_and_ends_are_told() -> None:
    ping = struct.pack(">III", 0x80030006, 4, 7)
    reset = struct.pack(">IIII", 0x80030003, 8, 3, 5)
    away = struct.pack(">IIII", 0x80030007, 8, 1, 0)
    reply = struct.pack(">III", 0x80030002, 4, 1)
    found, answer = SpdyClient().receive(ping + reply + reset + away)
    assert answer == ping
    assert found == [Received(3, ended=True, reset=True), Received(0, ended=True)]


@pytest.mark.parametrize(
    "frame", [struct.pack(">II", 0x80020001, 0), struct.pack(">II", 1, 0xFFFFFF)]
)
def test_another_protocol_is_refused(frame: bytes) -> None:
    with pytest.raises(SpdyError):
        SpdyClient().receive(frame)
