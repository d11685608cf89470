"""Random requests against every kind: writes, patches, reads and deletes, most of them wrong.

A :class:`Fuzzer` remembers what was accepted, so that updates, patches and subresources meet
objects that exist. Everything follows from its seed.
"""

import random
from pathlib import Path
from typing import Any

import orjson
import yaml
from hostile_objects import JUNK, ODD_STRINGS, ObjectMaker
from judge import Judge, Question

from kybern.api.errors import Obj
from kybern.api.kinds import ServedKind, builtin_registry
from kybern.api.schema import schema_for

CASES = Path(__file__).parents[1] / "unit" / "kinds" / "cases" / "accepted.yaml"
PATCHES = ("json-patch", "merge-patch", "strategic-merge-patch", "apply-patch")
STREAMING = frozenset({"exec", "attach", "portforward", "proxy", "log"})
REMEMBERED = 400
SELECTORS = (
    *("a=b", "a in (b,c)", "!a", "a", "a!=b", "a>1", "metadata.name=a", "spec.nodeName=", "x.y=z"),
    *("=", "==", "a in", "a in (", ")", "a=b,,", "a notin ()", "!", "a=" + "b" * 300, "a==b=c"),
    *(",".join(f"l{n}=v" for n in range(2000)), "metadata.name", "a\\", "status.phase=Running"),
)
VERSIONS = (
    *("0", "1", "5", "-1", "x", "1.5", "18446744073709551615", "18446744073709551616"),
    *("0x1", " 1", "1e3", "\u0661", "9" * 400),
)
TOKENS = (
    *("x", "e30", "e30=", "bnVsbA", "W10", "A" * 20000, "%%%"),
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTUsInN0YXJ0IjoiLi4vLi4vYSJ9",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0",
)
NUMBERS = ("0", "1", "2", "-1", "x", "1.5", "9223372036854775807", "9223372036854775808", "1e3")
SPLINTERS = (b"{", b"[", b'"', b"\\", b"\xff", b"&a *a", b"\n- ", b",")
BOOLEANS = ("true", "false", "1", "0", "x", "", "TRUE")
PARAMETERS: dict[str, tuple[str, ...]] = {
    "labelSelector": SELECTORS,
    "fieldSelector": SELECTORS,
    "resourceVersion": VERSIONS,
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x"),
    "continue": TOKENS,
    "limit": NUMBERS,
    "timeoutSeconds": NUMBERS,
    "watch": BOOLEANS,
    "allowWatchBookmarks": BOOLEANS,
    "sendInitialEvents": BOOLEANS,
    "dryRun": ("All", "All", "All", "x"),
    "fieldManager": ("m", "n", "ü", "x" * 200, "\x01"),
    "fieldValidation": ("Strict", "Warn", "Ignore", "x"),
    "force": BOOLEANS,
    "gracePeriodSeconds": NUMBERS,
    "propagationPolicy": ("Foreground", "Background", "Orphan", "x"),
    "orphanDependents": BOOLEANS,
    "pretty": BOOLEANS,
    "timeout": ("1s", "-1s", "x", "5", "99999h", "1ns"),
}
READ = ("labelSelector", "fieldSelector", "resourceVersion", "resourceVersionMatch", "continue")
READ += ("limit", "timeoutSeconds", "watch", "allowWatchBookmarks", "sendInitialEvents", "pretty")
WRITE = ("dryRun", "fieldManager", "fieldValidation", "pretty", "timeout")
DELETE = ("dryRun", "gracePeriodSeconds", "propagationPolicy", "orphanDependents")


class Fuzzer:
    """Asks one random question after the other."""

    def __init__(self, judge: Judge, seed: int) -> None:
        self._judge = judge
        self._rng = random.Random(seed)
        self._maker = ObjectMaker(self._rng)
        registry = builtin_registry()
        self._kinds = [entry for kind in registry.kinds() for entry in registry.served(kind)]
        loaded = yaml.safe_load(CASES.read_text())
        self._sound: dict[str, list[Obj]] = {}
        for case in loaded:
            obj = case["object"]
            self._sound.setdefault(f"{obj['apiVersion']} {obj['kind']}", []).append(obj)
        self._accepted: list[tuple[ServedKind, Obj]] = []
        self._asked_about: tuple[ServedKind, Obj] | None = None

    async def run(self, count: int) -> None:
        for _ in range(count):
            entry, question = self.question()
            answer = await self._judge.ask(question)
            if question.method == "DELETE" and answer.status == 200:
                self._accepted = [one for one in self._accepted if one is not self._asked_about]
            if question.method == "POST" and answer.status == 201 and entry.kind.stored:
                obj = orjson.loads(answer.body)
                if "metadata" in obj and obj.get("kind") == entry.kind.kind:
                    self._remember(entry, obj)

    def _remember(self, entry: ServedKind, obj: Obj) -> None:
        if len(self._accepted) >= REMEMBERED:
            self._accepted.pop(self._rng.randrange(REMEMBERED))
        self._accepted.append((entry, obj))

    def question(self) -> tuple[ServedKind, Question]:
        """A kind and something to ask about it."""
        rng = self._rng
        dice = rng.random()
        if dice < 0.35 or not self._accepted:
            return self._create()
        if dice < 0.5:
            return self._read()
        self._asked_about = rng.choice(self._accepted)
        entry, obj = self._asked_about
        path = self._path(entry, obj["metadata"]["name"])
        if dice < 0.53:
            body = rng.choice((None, {}, self._junk_options()))
            return entry, Question("DELETE", path, self._parameters(DELETE), body)
        parts = [s.name for s in entry.subresources if s.name not in STREAMING]
        if parts and rng.random() < 0.4:
            path = f"{path}/{rng.choice(parts)}"
        if rng.random() < 0.3:
            method = rng.choice(("PUT", "PUT", "POST")) if parts else "PUT"
            body = self._maker.mutated(obj, rng.randrange(1, 5))
            if isinstance(body, dict) and rng.random() < 0.9:
                body |= {"apiVersion": entry.api_version, "kind": entry.kind.kind}
            return entry, Question(method, path, self._parameters(WRITE), body)
        return entry, self._patch(entry, obj, path)

    def _create(self) -> tuple[ServedKind, Question]:
        rng = self._rng
        entry = rng.choice([kind for kind in self._kinds if "create" in kind.kind.verbs])
        name = f"fuzz-{rng.randrange(10**9)}"
        sound = self._sound.get(f"{entry.api_version} {entry.kind.kind}")
        if sound and rng.random() < 0.5:
            body = self._maker.mutated(rng.choice(sound), rng.randrange(0, 4))
            if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
                body["metadata"] = body["metadata"] | {"name": name}
        else:
            schema = schema_for(entry.group, entry.version, entry.kind.kind)
            body = self._maker.object(schema.type, name)
        text: Any = body
        content_type = "application/json"
        if rng.random() < 0.1:
            text = self._bytes(body)
            content_type = rng.choice(("application/json", "application/yaml"))
        return entry, Question(
            "POST", self._path(entry), self._parameters(WRITE), text, content_type
        )

    def _bytes(self, body: Any) -> bytes:
        """The body's JSON with a few bytes changed, cut off or doubled."""
        rng = self._rng
        data = bytearray(orjson.dumps(body))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at] = rng.randrange(256)
            elif rng.random() < 0.5:
                del data[at : at + rng.randrange(1, 5)]
            else:
                data[at:at] = rng.choice(
                    (b"{", b"[", b'"', b"\\", b"\xff", b"&a *a", b"\n- ", b",")
                )
            data = data or bytearray(b"x")
        return bytes(data)

    def _read(self) -> tuple[ServedKind, Question]:
        entry = self._rng.choice([kind for kind in self._kinds if kind.kind.stored])
        name = self._rng.choice(("", "", "", "nobody", "a%b"))
        return entry, Question("GET", self._path(entry, name), self._parameters(READ))

    def _patch(self, entry: ServedKind, obj: Obj, path: str) -> Question:
        rng = self._rng
        form = rng.choice(PATCHES)
        mutated = self._maker.mutated(obj, rng.randrange(1, 4))
        body: Any = mutated
        if form == "json-patch":
            body = [self._operation(obj) for _ in range(rng.randrange(1, 4))]
        elif isinstance(mutated, dict):
            if rng.random() < 0.6:
                schema = schema_for(entry.group, entry.version, entry.kind.kind)
                body = self._maker.object(schema.type, obj["metadata"]["name"])
                if body and rng.random() < 0.7:
                    key = rng.choice(list(body))
                    body = {"metadata": {}, key: body[key]}
            if form == "strategic-merge-patch":
                body = self._with_directives(body)
            if form == "apply-patch" and isinstance(body, dict):
                body = {"apiVersion": entry.api_version, "kind": entry.kind.kind, **body}
                if isinstance(body.get("metadata"), dict) and rng.random() < 0.9:
                    body["metadata"] |= {"name": obj["metadata"]["name"]}
                    body["metadata"].pop("managedFields", None)
        if rng.random() < 0.03:
            body = rng.choice(JUNK)
        query = self._parameters((*WRITE, "force"))
        if form == "apply-patch" and rng.random() < 0.9:
            query |= {"fieldManager": rng.choice(("one", "two")), "force": "true"}
        ending = "yaml" if form == "apply-patch" else "json"
        return Question("PATCH", path, query, body, f"application/{form}+{ending}")

    def _operation(self, obj: Obj) -> Any:
        rng = self._rng
        pointer = ""
        at: Any = obj
        while isinstance(at, dict | list) and at and rng.random() < 0.8:
            key = rng.choice(list(at) if isinstance(at, dict) else [*range(len(at)), "-", "x", -1])
            pointer += "/" + str(key).replace("~", "~0").replace("/", "~1")
            at = at.get(key) if isinstance(at, dict) else at[0]
        operation: Obj = {
            "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "x")),
            "path": rng.choice((pointer, pointer, pointer, f"{pointer}/-", "a", "/~2", "/")),
        }
        if rng.random() < 0.8:
            operation["value"] = rng.choice((*JUNK, *ODD_STRINGS, at))
        if rng.random() < 0.4:
            operation["from"] = rng.choice((pointer, "/metadata", "/spec", "", "x"))
        return operation if rng.random() < 0.97 else rng.choice(JUNK)

    def _with_directives(self, body: Any) -> Any:
        """Strategic merge directives in likely and unlikely places."""
        rng = self._rng
        if isinstance(body, list):
            items = [self._with_directives(item) for item in body]
            if rng.random() < 0.2:
                items.append({"$patch": rng.choice(("delete", "replace", "merge", "x", 5))})
            return items
        if not isinstance(body, dict):
            return body
        made = {key: self._with_directives(value) for key, value in body.items()}
        if made and rng.random() < 0.1:
            key = rng.choice(list(made))
            kind = rng.choice(("setElementOrder", "deleteFromPrimitiveList", "retainKeys", "x"))
            name = f"${kind}" if kind == "retainKeys" else f"${kind}/{key}"
            made[name] = rng.choice(([key], ["a", "b"], [{"name": "a"}], {"a": 1}, *JUNK))
        if rng.random() < 0.05:
            made["$patch"] = rng.choice(("delete", "replace", "merge", "x", None, 5))
        return made

    def _junk_options(self) -> Obj:
        rng = self._rng
        return {
            "kind": rng.choice(("DeleteOptions", "Pod", 5)),
            "apiVersion": rng.choice(("v1", "apps/v1", "x")),
            "gracePeriodSeconds": rng.choice((0, -1, 2**63, "x", None)),
            "preconditions": rng.choice(({"uid": "x"}, {"resourceVersion": 5}, [], None)),
            "dryRun": rng.choice((["All"], ["x"], "All", [])),
            "propagationPolicy": rng.choice(("Orphan", "x", 5)),
        }

    def _parameters(self, names: tuple[str, ...]) -> Obj:
        rng = self._rng
        share = rng.choice((0.0, 0.0, 0.0, 0.0, 0.1, 0.3))
        chosen = [name for name in names if rng.random() < share]
        found: Obj = {name: rng.choice(PARAMETERS[name]) for name in chosen}
        if "watch" in found:
            found["timeoutSeconds"] = "1"
        return found

    def _path(self, entry: ServedKind, name: str = "") -> str:
        path: str = entry.resource.path("default" if entry.kind.namespaced else None, name or None)
        return path
