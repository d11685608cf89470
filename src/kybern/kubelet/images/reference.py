"""Image names: their parts, the default tag, and the repository that they belong to. Pure."""

import re

DEFAULT_REGISTRY = "docker.io"
_DEFAULT_ALIAS = "index.docker.io"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = (
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
)
_REFERENCE = re.compile(
    rf"(?P<name>(?:(?:{_DOMAIN}|\[[a-fA-F0-9:]+\])(?::\d+)?/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)


class InvalidReference(ValueError):
    """Not a name that an image can have."""


def with_default_tag(name: str) -> str:
    """The name, with ``:latest`` where it has neither tag nor digest."""
    match = _REFERENCE.fullmatch(name)
    if match is None:
        raise InvalidReference(f"couldn't parse image name {_quoted(name)}: {_why(name)}")
    return name if match["tag"] or match["digest"] else f"{name}:latest"


def name_only(name: str) -> str:
    """The name without tag and digest."""
    match = _REFERENCE.fullmatch(name)
    return match["name"] if match else name


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _why(name: str) -> str:
    if _REFERENCE.fullmatch(name.lower()):
        return "invalid reference format: repository name must be lowercase"
    return "invalid reference format"


def repository(name: str) -> str:
    """The name without tag and digest, and with its registry, as ``docker.io/library/busybox``."""
    bare = name_only(name)
    first, slash, rest = bare.partition("/")
    if not slash or not _is_domain(first):
        first, rest = DEFAULT_REGISTRY, bare
    if first == _DEFAULT_ALIAS:
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return f"{first}/{rest}"


def _is_domain(part: str) -> bool:
    """Whether the first part of a name is a registry, and not the name of a user."""
    return "." in part or ":" in part or part == "localhost" or part != part.lower()
