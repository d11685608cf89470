"""The table of messages: which field has which number and type."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

META = "apimachinery.pkg.apis.meta.v1"
_PACKAGES = {
    "apiextensions.k8s.io": "apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "kube_aggregator.pkg.apis.apiregistration",
    "internal.apiserver.k8s.io": "api.apiserverinternal",
}
_META_KINDS = frozenset({"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions"})


@dataclass(frozen=True, slots=True)
class Field:
    """``type`` is s, b, i, o, d or a message; ``label`` is empty or one of ``*``, ``%``, ``>``."""

    name: str
    type: str
    label: str = ""


@cache
def _lines() -> dict[str, str]:
    text = files(__package__).joinpath("field_numbers.txt").read_text()
    found = (line.partition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: fields for name, _, fields in found}


@cache
def fields_of(message: str) -> dict[int, Field]:
    """The fields of a message by number; raises KeyError. Only names of the table are cached."""
    found: dict[int, Field] = {}
    for text in _lines()[message].split():
        name, _, rest = text.partition("=")
        number, _, type_ = rest.partition(":")
        label = type_[0] if type_[0] in "*%>" else ""
        found[int(number)] = Field(name, type_.removeprefix(label), label)
    return found


def message_of(api_version: str, kind: str) -> str:
    """The message of a kind; raises KeyError if there is none."""
    group, _, version = api_version.rpartition("/")
    if kind in _META_KINDS:
        return f"{META}.{kind}"
    package = _PACKAGES.get(group) or f"api.{group.partition('.')[0] or 'core'}"
    name = f"{package}.{version}.{kind}"
    if name not in _lines():
        raise KeyError(name)
    return name
