"""``format.dns1123Label().validate(text)``: the API's own forms of names and values."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs, times, urls
from kybern.api.cel.types import Type
from kybern.api.cel.values import NONE, OptionalValue, register
from kybern.api.validation import names

FORMAT = Type("kubernetes.NamedFormat")

_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NamedFormat:
    """``problems`` says what is wrong with a text; ``weight`` is what a check is taken to cost."""

    name: str
    problems: Callable[[str], Sequence[str]]
    weight: int


register(NamedFormat, FORMAT.name)


def _uri(text: str) -> list[str]:
    try:
        urls.parse(text)
    except EvaluationError as error:
        return [str(error).partition(": ")[2]]
    return []


def _uuid(text: str) -> list[str]:
    return [] if _UUID.fullmatch(text) else ["does not match the UUID format"]


def _byte(text: str) -> list[str]:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ["invalid base64"]
    return []


def _date(text: str) -> list[str]:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        date.fromisoformat(text)
    except ValueError:
        return ["invalid date"]
    return []


def _datetime(text: str) -> list[str]:
    try:
        times.parse_timestamp(text)
    except EvaluationError:
        return ["invalid datetime"]
    return []


FORMATS = {
    "dns1123Label": NamedFormat("DNS1123Label", names.dns_label, 30),
    "dns1123Subdomain": NamedFormat("DNS1123Subdomain", names.dns_subdomain, 60),
    "dns1035Label": NamedFormat("DNS1035Label", names.dns_label_1035, 30),
    "qualifiedName": NamedFormat("QualifiedName", names.is_qualified_name, 60),
    "dns1123LabelPrefix": NamedFormat(
        "DNS1123LabelPrefix", lambda text: names.dns_label(text, prefix=True), 30
    ),
    "dns1123SubdomainPrefix": NamedFormat(
        "DNS1123SubdomainPrefix", lambda text: names.dns_subdomain(text, prefix=True), 60
    ),
    "dns1035LabelPrefix": NamedFormat(
        "DNS1035LabelPrefix", lambda text: names.dns_label_1035(text, prefix=True), 30
    ),
    "labelValue": NamedFormat("LabelValue", names.is_label_value, 40),
    "uri": NamedFormat("URI", _uri, 2083),
    "uuid": NamedFormat("uuid", _uuid, 127),
    "byte": NamedFormat("byte", _byte, 84),
    "date": NamedFormat("date", _date, 137),
    "datetime": NamedFormat("datetime", _datetime, 137),
}


def _validate(format_: NamedFormat, text: str) -> OptionalValue:
    problems = format_.problems(text)
    return OptionalValue(list(problems)) if problems else NONE


def _cost(args: Sequence[Any], result: Any) -> int:
    return costs.traversal(1 + len(args[1])) * -(-args[0].weight // 4)


def _named(name: str) -> OptionalValue:
    return OptionalValue(FORMATS[name]) if name in FORMATS else NONE


def _constant(held: NamedFormat) -> Callable[[], NamedFormat]:
    return lambda: held


_F = FORMAT.name

FUNCTIONS: Functions = {
    "validate": [overload(f"{_F}.(string) -> optional(list(string))", _validate, _cost)],
    "format.named": [overload(f"(string) -> optional({_F})", _named)],
    **{
        f"format.{name}": [overload(f"() -> {_F}", _constant(held))]
        for name, held in FORMATS.items()
    },
}
