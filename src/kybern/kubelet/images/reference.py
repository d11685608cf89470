"""Image names: their parts, the default tag, and which registry they belong to. Pure."""

import re

DEFAULT_REGISTRY = "docker.io"

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


def registry(name: str) -> str:
    """The registry's host, as credentials name it."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return DEFAULT_REGISTRY
