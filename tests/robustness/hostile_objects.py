"""Random objects that look almost right: by a kind's own schema, with a taste for edges.

Objects with a likely shape get far into defaulting, admission and validation, where a wrong
assumption about a missing or odd field would be a stumble; random bytes never get past the parser.
Everything follows from the random generator, so a seed replays it.
"""

import random
from typing import Any

from kybern.api.errors import Obj
from kybern.api.schema.types import Field, Shape, Type

PLAIN_STRINGS = (
    *("a", "web", "default", "v1", "apps/v1", "Pod", "kube-system", "metadata.name", "name"),
    *("TCP", "UDP", "Always", "Never", "IfNotPresent", "ClusterIP", "None", "NodePort", "Service"),
    *("10.0.0.1", "10.96.0.20", "10.244.0.0/24", "::1", "fd00::/64", "a.example.com", "*"),
    *("100m", "1Gi", "1", "0", "50%", "0 0 * * *", "2026-01-01T00:00:00Z", "In", "Exists", "Equal"),
    *("NoSchedule", "NoExecute", "RollingUpdate", "Recreate", "kubernetes.io/hostname", "/tmp/x"),
    *("ReadWriteOnce", "Filesystem", "Opaque", "kubernetes.io/tls", "Local", "Cluster", "Prefix"),
    *("string", "object", "array", "Namespaced", "self.x == 1", "examples.com", "get", "list"),
)
ODD_STRINGS = (
    *("", " ", "-", ".", "..", "/", "a/b/c", "A_B", "-1", "ü", "\U0001f600", "\x00", "a\nb", "\t"),
    *("x" * 64, "x" * 300, "a." * 200, "0" * 70, "NaN", "1e400", "-5", "%s%n", "{{x}}", "$(A)"),
    *("9" * 40, "1" + "0" * 30 + "Ei", "300.1.1.1", "1.2.3", "10.0.0.0/99", ":::", "a=b,c", "!a"),
    *(
        "\ufeff",
        "\u202e",
        "null",
        "true",
        "0x10",
        "1_000",
        "__proto__",
        "../../etc/passwd",
        "@every",
    ),
)
INTEGERS = (0, 1, 2, 3, 80, 8080, 30080, 100, 65535)
ODD_INTEGERS = (-1, 65536, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 2**63)
TIMES = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00+02:00")
ODD_TIMES = ("", "now", "9999-99-99T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00")
NUMBERS = (0.5, -0.5, 1e308, 1e-308, 1.0)
JUNK: tuple[Any, ...] = (None, True, False, 0, -1, 1.5, "", "x", [], [None], {}, {"": None}, [[]])
DEEPEST = 9


class ObjectMaker:
    """Makes objects of a type graph from a random generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._junk_share = 0.0
        self._odd_share = 0.1

    def object(self, root: Type, name: str) -> Obj:
        """An object of a kind; nine of ten times under this name, half the times without junk."""
        self._junk_share = self._rng.choice((0.0, 0.0, 0.003, 0.02))
        self._odd_share = self._rng.choice((0.0, 0.03, 0.15))
        made = self._struct(root, 0)
        made.pop("apiVersion", None)
        made.pop("kind", None)
        if self._rng.random() < 0.9:
            metadata = made.get("metadata") if isinstance(made.get("metadata"), dict) else {}
            for field in ("deletionTimestamp", "generateName", "namespace", "resourceVersion"):
                if self._rng.random() < 0.9:
                    metadata.pop(field, None)
            made["metadata"] = metadata | {"name": name}
        return made

    def value(self, type_: Type, depth: int) -> Any:
        """A value of a type; now and then something else."""
        rng = self._rng
        if rng.random() < self._junk_share:
            return rng.choice(JUNK)
        match type_.shape:
            case Shape.STRUCT:
                return self._struct(type_, depth)
            case Shape.MAP:
                keys = [self._string() for _ in range(rng.randrange(3))]
                return {key: self.value(type_.element, depth + 1) for key in keys}
            case Shape.LIST:
                count = rng.choice((0, 1, 1, 2, 3)) if depth < DEEPEST else 0
                items = [self.value(type_.element, depth + 1) for _ in range(count)]
                return items + items[:1] if rng.random() < 0.1 else items
            case _:
                return self._scalar(type_.shape)

    def _struct(self, type_: Type, depth: int) -> Obj:
        if depth > DEEPEST:
            return {}
        share = 0.7 if depth < 2 else 0.25 if depth < 4 else 0.15
        chosen: list[Field] = [f for f in type_.fields.values() if self._rng.random() < share]
        return {field.name: self.value(field.type, depth + 1) for field in chosen}

    def _scalar(self, shape: Shape) -> Any:
        rng = self._rng
        match shape:
            case Shape.INTEGER:
                return rng.choice(ODD_INTEGERS if rng.random() < self._odd_share else INTEGERS)
            case Shape.NUMBER:
                return rng.choice(NUMBERS)
            case Shape.BOOLEAN:
                return rng.random() < 0.5
            case Shape.BYTES:
                return rng.choice(("", "YQ==", "YQ", "!", "e30="))
            case Shape.TIME | Shape.MICRO_TIME:
                odd = rng.random() < self._odd_share
                return rng.choice(ODD_TIMES if odd else TIMES)
            case Shape.QUANTITY:
                return rng.choice(
                    ("1", "100m", "1Gi", "0", "-1", 2, 1.5, "1e3", *ODD_STRINGS[-12:])
                )
            case Shape.INT_OR_STRING:
                return rng.choice((80, "http", "50%", "150%", 0, -1, "", "a b"))
            case Shape.ANY:
                return rng.choice(({"type": "object"}, {"x": [1, {"y": None}]}, *JUNK))
            case _:
                return self._string()

    def _string(self) -> str:
        return self._rng.choice(
            ODD_STRINGS if self._rng.random() < self._odd_share else PLAIN_STRINGS
        )

    def mutated(self, value: Any, changes: int) -> Any:
        """A copy of a value with some of its parts dropped, doubled, moved or replaced."""
        for _ in range(changes):
            value = self._mutate(value)
        return value

    def _mutate(self, value: Any) -> Any:
        rng = self._rng
        if isinstance(value, dict) and value and rng.random() < 0.9:
            key = rng.choice(list(value))
            return self._mutate_entry(value, key)
        if isinstance(value, list) and value and rng.random() < 0.9:
            index = rng.randrange(len(value))
            if rng.random() < 0.2:
                return [*value, value[index]]
            if rng.random() < 0.2:
                return value[:index] + value[index + 1 :]
            return [*value[:index], self._mutate(value[index]), *value[index + 1 :]]
        if isinstance(value, str) and rng.random() < 0.6:
            return self._string()
        if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.6:
            return rng.choice(ODD_INTEGERS)
        return rng.choice(JUNK)

    def _mutate_entry(self, value: Obj, key: str) -> Obj:
        rng = self._rng
        if rng.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if rng.random() < 0.05:
            return {**value, self._string(): value[key]}
        return {**value, key: self._mutate(value[key])}
