"""What the checks of the Pod Security Standards share: findings and how they are worded."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kybern.api.errors import Obj


class Finding(NamedTuple):
    """One standard violated: what in short, and where in detail."""

    reason: str
    detail: str


# A check takes a pod's metadata and spec.
Check = Callable[[Obj, Obj], Finding | None]


def containers(spec: Obj) -> Iterator[Obj]:
    for group in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(group) or []


def security(holder: Obj) -> Obj:
    """The security context of a pod's spec or of a container."""
    return holder.get("securityContext") or {}


def plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


def quoted(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def named(names: list[str]) -> str:
    """``container "a"`` or ``containers "a", "b"``."""
    return f"{plural('container', 'containers', len(names))} {quoted(names)}"


def setters(pod: bool, names: list[str]) -> str:
    """Who sets something: the pod, containers, or both."""
    return " and ".join([*(["pod"] if pod else []), *([named(names)] if names else [])])


def user_namespace(spec: Obj) -> bool:
    """Whether the pod's root is nobody on the node."""
    return spec.get("hostUsers") is False
