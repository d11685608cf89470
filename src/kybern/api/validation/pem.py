"""PEM texts as Go reads them: blocks one after the other, whatever stands between them."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

_BLOCK = re.compile(
    r"^-----BEGIN (?P<type>[^\n]*?)-----[ \t]*\r?\n(?P<body>.*?)^-----END (?P=type)-----",
    re.DOTALL | re.MULTILINE,
)
_HEADER = re.compile(r"^[^\n:]+:[^\n]*\n", re.MULTILINE)


class PemBlock(NamedTuple):
    type: str
    has_headers: bool
    content: bytes


def pem_blocks(text: str) -> Iterator[PemBlock]:
    """The blocks that can be decoded; what is none is stepped over."""
    for found in _BLOCK.finditer(text):
        body = found["body"]
        encoded = _HEADER.sub("", body)
        try:
            content = base64.b64decode("".join(encoded.split()), validate=True)
        except binascii.Error:
            continue
        yield PemBlock(found["type"], encoded != body, content)
