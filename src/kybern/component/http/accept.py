"""The Accept header of a request, parsed."""

from dataclasses import dataclass
from functools import lru_cache

_CACHED_HEADERS = 512  # bounds what strange headers can fill


@dataclass(frozen=True, slots=True)
class Clause:
    """One media range of an Accept header."""

    type: str
    subtype: str
    quality: float
    params: tuple[tuple[str, str], ...]

    @property
    def media_range(self) -> str:
        return f"{self.type}/{self.subtype}"

    def matches(self, media_type: str) -> bool:
        main, _, sub = media_type.partition("/")
        return self.type in (main, "*") and self.subtype in (sub, "*")


@lru_cache(maxsize=_CACHED_HEADERS)
def parse_accept(header: str) -> tuple[Clause, ...]:
    """The clauses of an Accept header, best first; broken ones are left out."""
    clauses: list[Clause] = []
    for text in header.split(","):
        media_range, *rest = (part.strip() for part in text.split(";"))
        main, slash, sub = media_range.partition("/")
        if not slash and main == "*":
            sub = "*"
        elif not slash:
            continue
        params: list[tuple[str, str]] = []
        quality = 1.0
        for part in rest:
            name, _, value = part.partition("=")
            value = value.strip().strip('"')
            if name.strip() == "q":
                quality = _quality(value)
            else:
                params.append((name.strip(), value))
        clauses.append(Clause(main, sub, quality, tuple(params)))
    clauses.sort(key=lambda c: (-c.quality, c.type == "*", c.subtype == "*"))
    return tuple(clauses)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
