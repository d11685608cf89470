"""DNS messages as bytes: the few fields that forwarding touches without parsing a message.

Upstream's answers pass through as they came, whatever record types they carry; only the id and,
for cached answers, the TTLs are rewritten.
"""

import struct
from dataclasses import dataclass

import dns.rdatatype

HEADER_BYTES = 12
_TRUNCATED = 0x02
_RCODE = 0x0F
_POINTER = 0xC0


class MalformedMessage(Exception):
    """The bytes are not a DNS message."""


def with_id(message: bytes, message_id: bytes) -> bytes:
    """The message under another id (two bytes)."""
    return message_id + message[2:]


def question_of(message: bytes) -> bytes:
    """The question section's bytes, lower case; raises MalformedMessage unless there is one."""
    if len(message) < HEADER_BYTES or message[4:6] != b"\x00\x01":
        raise MalformedMessage("not exactly one question")
    end = _skip_name(message, HEADER_BYTES) + 4
    if end > len(message):
        raise MalformedMessage("cut short")
    return message[HEADER_BYTES:end].lower()


def in_reply_to(query: bytes, reply: bytes) -> bytes:
    """A reply to an equal question, with this query's id and its spelling of the question.

    Resolvers vary upper and lower case and insist on getting it back, against forged answers.
    """
    end = HEADER_BYTES + len(question_of(query))
    return query[:2] + reply[2:HEADER_BYTES] + query[HEADER_BYTES:end] + reply[end:]


def answers(reply: bytes, query: bytes) -> bool:
    """Whether ``reply`` is a response to ``query``: same id, same question."""
    if len(reply) < HEADER_BYTES or reply[:2] != query[:2] or not reply[2] & 0x80:
        return False
    try:
        return question_of(reply) == question_of(query)
    except MalformedMessage:
        return False


def is_truncated(message: bytes) -> bool:
    return bool(message[2] & _TRUNCATED)


def rcode_of(message: bytes) -> int:
    return message[3] & _RCODE


@dataclass(frozen=True)
class Lifetimes:
    """Where a message's TTLs stand, and the smallest of them; None if it has no records."""

    offsets: tuple[int, ...]
    seconds: int | None


def lifetimes(message: bytes) -> Lifetimes:
    """Find every TTL of a response; raises MalformedMessage."""
    questions, *counts = struct.unpack_from("!4H", message, 4)
    position = HEADER_BYTES
    offsets: list[int] = []
    smallest: int | None = None
    try:
        for _ in range(questions):
            position = _skip_name(message, position) + 4
        for _ in range(sum(counts)):
            position = _skip_name(message, position)
            kind, _, seconds, length = struct.unpack_from("!HHIH", message, position)
            if kind != dns.rdatatype.OPT:
                offsets.append(position + 4)
                smallest = seconds if smallest is None else min(smallest, seconds)
            position += 10 + length
    except struct.error as error:
        raise MalformedMessage("cut short") from error
    if position > len(message):
        raise MalformedMessage("cut short")
    return Lifetimes(tuple(offsets), smallest)


def aged(message: bytes, offsets: tuple[int, ...], seconds: int) -> bytes:
    """The message with every TTL reduced by the seconds it has been kept."""
    changed = bytearray(message)
    for offset in offsets:
        (before,) = struct.unpack_from("!I", changed, offset)
        struct.pack_into("!I", changed, offset, max(0, before - seconds))
    return bytes(changed)


def _skip_name(message: bytes, position: int) -> int:
    """The position after a name, which ends with a zero length or a pointer."""
    while True:
        if position >= len(message):
            raise MalformedMessage("cut short")
        length = message[position]
        if length & _POINTER == _POINTER:
            return position + 2
        if length == 0:
            return position + 1
        position += 1 + length
