"""The pull policy that an image reference implies."""

import re
from functools import lru_cache

_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9.\-\[\]:_]+/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?P<digest>@[A-Za-z][A-Za-z0-9+.\-_]*:[0-9a-fA-F]{32,})?"
)


_LONGEST_NAME = 255


@lru_cache(4096)
def default_pull_policy(image: str) -> str:
    """Always for the tag ``latest`` (said or implied), IfNotPresent otherwise."""
    match = _IMAGE.fullmatch(image)
    if match is None:
        return "IfNotPresent"
    tag, digest = match["tag"], match["digest"]
    name = image.removesuffix(digest or "").removesuffix(f":{tag}" if tag else "")
    if len(name) > _LONGEST_NAME:
        return "IfNotPresent"
    return "Always" if tag == "latest" or (not tag and not digest) else "IfNotPresent"
