"""Table cells that many kinds share: names, ages, label maps, selectors."""

from collections.abc import Callable, Mapping
from typing import Any

from kybern.api.ages import since
from kybern.api.errors import Obj
from kybern.api.kinds.kind import Column

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


def age(obj: Obj, now: float) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def name(obj: Obj, now: float) -> str:
    text: str = obj["metadata"].get("name", "")
    return text


NAME = Column("Name", name, format="name", description="Name of the object.")
AGE = Column("Age", age, description="Time since the object was created.")

# What upstream shows of kinds that it has no columns for.
CREATED_AT = Column(
    "Created At",
    lambda obj, now: obj["metadata"].get("creationTimestamp", ""),
    type="date",
    description="When the object was created.",
)


def at(*path: str, default: Any = "") -> Callable[[Obj, float], Any]:
    """A cell that shows the field at a path."""

    def value(obj: Obj, now: float) -> Any:
        found: Any = obj
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
            if found is None:
                return default
        return found

    return value


def field(*path: str, default: str = "") -> Callable[[Obj], str]:
    """A selectable field that reads a string, number or boolean at a path."""

    def value(obj: Obj) -> str:
        found: Any = obj
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
            if found is None:
                return default
        if isinstance(found, bool):
            return "true" if found else "false"
        return str(found)

    return value


def length(*path: str) -> Callable[[Obj, float], int]:
    """A cell that counts the entries of a list or map."""
    read = at(*path, default=())
    return lambda obj, now: len(read(obj, now))


def label_map(values: Mapping[str, str] | None) -> str:
    """``a=b,c=d`` sorted by key, or ``<none>``."""
    return ",".join(f"{k}={v}" for k, v in sorted(values.items())) if values else NONE


def label_selector(selector: Obj | None) -> str:
    """A ``metav1.LabelSelector`` in the syntax of ``-l``, or ``<none>``."""
    if selector is None:
        return NONE
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    sorted_terms = [(term.partition("=")[0], term) for term in terms]
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression["key"], expression["operator"]
        values = ",".join(sorted(expression.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }.get(operator, "<error>")
        sorted_terms.append((key, text))
    return ",".join(text for _, text in sorted(sorted_terms, key=lambda t: t[0])) or NONE


def containers(pod_spec: Obj) -> tuple[str, str]:
    """The names and the images of a pod's containers, joined by commas."""
    held = pod_spec.get("containers") or ()
    names = ",".join(c.get("name", "") for c in held)
    return names, ",".join(c.get("image", "") for c in held)


def template_columns() -> tuple[Column, Column]:
    """The wide columns Containers and Images of a kind with a pod template."""
    template = at("spec", "template", "spec", default={})
    return (
        Column("Containers", lambda o, now: containers(template(o, now))[0], priority=1),
        Column("Images", lambda o, now: containers(template(o, now))[1], priority=1),
    )
