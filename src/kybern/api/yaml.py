"""YAML as the Kubernetes API reads it: JSON's types, and nothing that surprises.

kubectl, ``up`` and the API server's ``application/yaml`` bodies come through here. Dates and
base-60 numbers stay strings, ``yes`` and ``on`` are booleans as upstream's YAML 1.1 parser has
them, keys become strings, merge keys (``<<``) work. Aliases are bounded: a document of a few
lines must not grow to gigabytes ("billion laughs"). Nesting and the number of nodes are bounded
too, while the parser reads: it takes half a kilobyte a node, and its own recursion would end the
process.
"""

import base64
import binascii
import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml as _yaml

_NO_FOLDING = 2**30
_MOST_ALIASED_NODES = 10_000
_MOST_NODES = 250_000
_DEEPEST = 200

YamlError = _yaml.YAMLError
ScannerError = _yaml.scanner.ScannerError

_BaseLoader: Any = getattr(_yaml, "CSafeLoader", _yaml.SafeLoader)
_BaseDumper: Any = getattr(_yaml, "CSafeDumper", _yaml.SafeDumper)

_INTEGER = re.compile(r"[-+]?(?:0b[0-1_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class DuplicateKey(_yaml.constructor.ConstructorError):
    """A mapping names a key twice, which strict field validation refuses."""


class _Loader(_BaseLoader):
    """The C parser with our resolvers; counts what aliases repeat; remembers duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def __init__(self, stream: bytes | str) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []
        self.visits = 0
        self.depth = 0
        self.nodes = 0
        self.nesting = 0

    def descend_resolver(self, parent: Any, index: Any) -> None:
        """The parser's call before each node that it reads."""
        self.nodes = 1 if parent is None else self.nodes + 1
        self.nesting += 1
        if self.nodes > _MOST_NODES:
            raise YamlError("document has too many nodes")
        if self.nesting > _DEEPEST:
            raise YamlError("exceeded max depth")

    def ascend_resolver(self) -> None:
        """The parser's call after each node."""
        self.nesting -= 1

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        self.visits += 1
        self.depth += 1
        try:
            if self.depth > _DEEPEST:
                raise YamlError("exceeded max depth")
            return super().construct_object(node, deep=True)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(self.construct_object(key_node), key_node)
            if key in mapping:
                line = key_node.start_mark.line + 1
                self.duplicates.append(f'line {line}: key "{key}" already set in map')
            mapping[key] = self.construct_object(value_node)
        return mapping


def _key(value: Hashable, node: Any) -> str:
    """A mapping key as JSON has it; upstream's converter prints scalars the same way."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return str(value)
    raise YamlError(f"unsupported map key at line {node.start_mark.line + 1}")


def _map(loader: _Loader, node: Any) -> dict[str, Any]:
    return loader.construct_mapping(node)


def _sequence(loader: _Loader, node: Any) -> list[Any]:
    return [loader.construct_object(item) for item in node.value]


def _boolean(loader: _Loader, node: Any) -> bool:
    return node.value.lower() in ("y", "yes", "true", "on")


def _integer(loader: _Loader, node: Any) -> int | float | str:
    text = node.value.replace("_", "")
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if len(digits) > 400:
        raise YamlError("number is too long")
    for prefix, base in (("0b", 2), ("0x", 16), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    if len(digits) > 1 and digits.startswith("0"):
        return sign * int(digits, 8)
    number = sign * int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


def _float(loader: _Loader, node: Any) -> float:
    text = node.value.lower()
    if "inf" in text or "nan" in text:
        raise YamlError(f"{node.value} is not a JSON number")
    return float(text)


def _binary(loader: _Loader, node: Any) -> str:
    try:
        return base64.b64decode(node.value).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise YamlError("!!binary value contains invalid base64 data") from None


def _unknown(loader: _Loader, tag_suffix: str, node: Any) -> Any:
    """Tags have no meaning in the API: the node counts as what it looks like."""
    if isinstance(node, _yaml.MappingNode):
        return loader.construct_mapping(node)
    if isinstance(node, _yaml.SequenceNode):
        return _sequence(loader, node)
    return node.value


_Loader.yaml_constructors = {}
_Loader.yaml_multi_constructors = {}
for _tag, _constructor in {
    "map": _map,
    "seq": _sequence,
    "str": lambda loader, node: node.value,
    "null": lambda loader, node: None,
    "bool": _boolean,
    "int": _integer,
    "float": _float,
    "binary": _binary,
}.items():
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _constructor)
_Loader.add_multi_constructor("", _unknown)


def _resolve(tag: str, pattern: str | re.Pattern[str], first: str) -> None:
    form = pattern if isinstance(pattern, re.Pattern) else re.compile(pattern)
    full = re.compile(rf"(?:{form.pattern})\Z")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", full, list(first))


_resolve(
    "bool",
    "y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "yYnNtTfFoO",
)
_resolve("int", _INTEGER, "-+0123456789")
_resolve("float", _FLOAT, "-+0123456789.")
_resolve("merge", "<<", "<")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)


def load(text: bytes | str) -> Any:
    """The first document; None for an empty one. Raises YamlError."""
    value, _ = load_with_duplicates(text)
    return value


def load_with_duplicates(text: bytes | str) -> tuple[Any, list[str]]:
    """The first document, and upstream's complaint for each key that a mapping repeats."""
    loader = _Loader(text)
    try:
        node = _bounded(loader.get_node() if loader.check_node() else None)
        value = None if node is None else loader.construct_document(node)
        return value, loader.duplicates
    except RecursionError:
        raise YamlError("exceeded max depth") from None
    finally:
        loader.dispose()


def load_all(text: bytes | str) -> Iterator[Any]:
    """Every document of a stream, empty ones left out. Raises YamlError."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            value = loader.construct_document(_bounded(loader.get_node()))
            if value is not None:
                yield value
    except RecursionError:
        raise YamlError("exceeded max depth") from None
    finally:
        loader.dispose()


def dump(value: Any) -> str:
    """Block style, keys in their given order; texts that another reader may mistake are quoted."""
    text: str = _yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=_NO_FOLDING,
    )
    return text


class _Dumper(_BaseDumper):
    """Writes no anchors: every alias would have to be followed by the reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, value: str) -> Any:
    style = "|" if "\n" in value else None
    if style is None and value.lower() in ("y", "n"):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
# What either our reader or a plain YAML 1.1 reader would take for something else gets quotes.
_Dumper.yaml_implicit_resolvers = {
    first: [*_BaseDumper.yaml_implicit_resolvers.get(first, []), *resolvers]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def _bounded(node: Any) -> Any:
    """Refuse a document that aliases make much larger, or endless, before building it.

    Counts the nodes as the built value would have them; a node that contains itself counts
    without end and so is refused by the same bound.
    """
    if node is None:
        return None
    distinct: set[int] = set()
    pending = [(node, 1)]
    repeated = 0
    while pending:
        current, depth = pending.pop()
        if depth > _DEEPEST:
            raise YamlError("exceeded max depth")
        if id(current) in distinct:
            repeated += 1
            if repeated > _MOST_ALIASED_NODES:
                raise YamlError("document contains excessive aliasing")
        distinct.add(id(current))
        if isinstance(current, _yaml.MappingNode):
            pending += [(part, depth + 1) for pair in current.value for part in pair]
        elif isinstance(current, _yaml.SequenceNode):
            pending += [(item, depth + 1) for item in current.value]
    return node
