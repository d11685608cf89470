"""The table of messages: which field has which number and type.

``field_numbers.txt`` is kept by hand: the numbers are facts of the wire that a kind's definition
does not tell. :func:`message_of` finds a kind's message, :func:`fields_of` what is in it.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

META = "apimachinery.pkg.apis.meta.v1"
_PACKAGES = {
    "": "api.core",
    "apps": "api.apps",
    "autoscaling": "api.autoscaling",
    "batch": "api.batch",
    "policy": "api.policy",
    "admission.k8s.io": "api.admission",
    "admissionregistration.k8s.io": "api.admissionregistration",
    "apiextensions.k8s.io": "apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "kube_aggregator.pkg.apis.apiregistration",
    "authentication.k8s.io": "api.authentication",
    "authorization.k8s.io": "api.authorization",
    "certificates.k8s.io": "api.certificates",
    "coordination.k8s.io": "api.coordination",
    "discovery.k8s.io": "api.discovery",
    "events.k8s.io": "api.events",
    "flowcontrol.apiserver.k8s.io": "api.flowcontrol",
    "internal.apiserver.k8s.io": "api.apiserverinternal",
    "meta.k8s.io": "apimachinery.pkg.apis.meta",
    "networking.k8s.io": "api.networking",
    "node.k8s.io": "api.node",
    "rbac.authorization.k8s.io": "api.rbac",
    "resource.k8s.io": "api.resource",
    "scheduling.k8s.io": "api.scheduling",
    "storage.k8s.io": "api.storage",
}
# Kinds of requests and answers that every group and version has.
_META_KINDS = frozenset(
    {"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "Status"}
)
_PARTIAL = "PartialObjectMetadata"


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
    """The fields of a message by number; raises KeyError. Only names of the table are cached.

    A kind's list is not in the table, because all lists are made alike.
    """
    line = _lines().get(message)
    if line is None:
        item = message.removesuffix("List")
        if item not in _lines():
            raise KeyError(message)
        return {1: Field("metadata", f"{META}.ListMeta"), 2: Field("items", item, "*")}
    found: dict[int, Field] = {}
    for text in line.split():
        name, _, rest = text.partition("=")
        number, _, type_ = rest.partition(":")
        label = type_[0] if type_[0] in "*%>" else ""
        found[int(number)] = Field(name, type_.removeprefix(label), label)
    return found


def message_of(api_version: str, kind: str) -> str:
    """The message of a kind or of its list; raises KeyError if there is none."""
    group, _, version = api_version.rpartition("/")
    if kind in _META_KINDS or (group == "meta.k8s.io" and kind == _PARTIAL):
        return f"{META}.{kind}"
    name = f"{_PACKAGES[group]}.{version}.{kind}"
    if name not in _lines() and name.removesuffix("List") not in _lines():
        raise KeyError(name)
    return name


@cache
def has_form(api_version: str, kind: str) -> bool:
    """Whether a served kind can be written in protobuf."""
    try:
        message_of(api_version, kind)
    except KeyError:
        return False
    return True
