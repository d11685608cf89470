"""Tables of who may do what: YAML files that ``test_access_tables.py`` holds a server to.

One file is one rule. ``about`` says it, ``flags`` start the server, ``configured`` are admission
plugins with their configurations, ``users`` are those who ask, ``given`` exists beforehand,
``forms`` are bodies that cases build on, and each case is a request::

    - refuse: a sentence that says what is refused     # or "allow:"
      as: jane                                         # a user of the table; else the admin
      POST: /api/v1/namespaces/default/pods
      of: pod                                          # a form, merged with ``with``
      with: {spec: {hostNetwork: true}}
      says: the message of the Status, whole
      code: 422                                        # 403, unless said otherwise
      becomes: {spec.nodeName: x}                      # fields of the answer, null for none
      warns: [texts of Warning headers]

Writes are dry runs unless a case says ``stored: true``, patches JSON merge patches unless it says
``strategic: true``. A user's rights are sentences: ``get,list
pods``, ``create pods/exec in default``, ``bind clusterroles.rbac.authorization.k8s.io named edit``,
``get /metrics``. ``<uid of Node n1>`` stands for the uid of what was given.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kybern.api.errors import Obj
from kybern.api.kinds import builtin_registry
from kybern.api.patch import merge_patch

FOLDER = Path(__file__).parent / "access"
ADMIN = "admin"
_RBAC = "rbac.authorization.k8s.io"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MERGES = {"Content-Type": "application/merge-patch+json"}
_STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
_UID = re.compile(r"<uid of (\w+) ([\w.-]+)>")
_REGISTRY = builtin_registry()


class Reply(NamedTuple):
    """What a server answered; ``text`` is the one field of a body that is no JSON."""

    code: int
    body: Obj
    warnings: list[str]


@dataclass(frozen=True)
class Who:
    """Somebody who asks; the name is empty for nobody in particular."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)
    may: tuple[str, ...] = ()


Send = Callable[[str, str, Obj | None, Who, Mapping[str, str]], Awaitable[Reply]]
"""Method, path with query, body, user and headers to the answer."""


@dataclass(frozen=True)
class Table:
    """One file; its content is checked when its cases run."""

    name: str
    about: str
    cases: list[Obj]
    flags: Obj = field(default_factory=dict)
    configured: dict[str, Obj] = field(default_factory=dict)
    users: Obj = field(default_factory=dict)
    given: list[Obj] = field(default_factory=list)
    forms: Obj = field(default_factory=dict)

    @property
    def configuration(self) -> str:
        """The text of the file for --admission-control-config-file."""
        plugins = [{"name": name, "configuration": told} for name, told in self.configured.items()]
        head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration"}
        return yaml.safe_dump({**head, "plugins": plugins})

    @property
    def people(self) -> dict[str, Who]:
        admin = Who("kubernetes-admin", ("system:masters",))
        return {ADMIN: admin} | {
            name: Who(
                known.get("name", name),
                tuple(known.get("groups", ())),
                known.get("uid", ""),
                known.get("extra", {}),
                tuple(known.get("may", ())),
            )
            for name, known in self.users.items()
        }


def load(path: Path) -> Table:
    """A table from its file."""
    return Table(path.stem, **yaml.safe_load(path.read_text()))


async def problems(table: Table, send: Send) -> list[str]:
    """What a server does otherwise than the table says, one text for each case."""
    people = table.people
    admin = people[ADMIN]
    uids: dict[tuple[str, str], str] = {}
    rights = (obj for who in people.values() for obj in _rights(who))
    for obj in [*table.given, *rights]:
        made = await _make(obj, send, admin, uids)
        uids[made["kind"], made["metadata"]["name"]] = made["metadata"]["uid"]
    found = []
    for case in table.cases:
        reply = await _asked(case, table.forms, people, send, uids)
        found += [f"{_title(case)}: {why}" for why in _wrong(case, reply, uids)]
    return found


def _title(case: Obj) -> str:
    return f"allow {case['allow']}" if "allow" in case else f"refuse {case['refuse']}"


async def _asked(
    case: Obj, forms: Obj, people: dict[str, Who], send: Send, uids: dict[tuple[str, str], str]
) -> Reply:
    method = next(name for name in _METHODS if name in case)
    path: str = case[method]
    body = case.get("with")
    if "of" in case:
        body = merge_patch.apply(forms[case["of"]], body or {})
    if method != "GET" and not case.get("stored"):
        path += ("&" if "?" in path else "?") + "dryRun=All"
    headers = dict(_STRATEGIC if case.get("strategic") else _MERGES) if method == "PATCH" else {}
    headers |= case.get("headers", {})
    who = people[case.get("as", ADMIN)]
    return await send(method, path, _filled(body, uids), who, headers)


def _wrong(case: Obj, reply: Reply, uids: dict[tuple[str, str], str]) -> Iterator[str]:
    said = str(reply.body.get("message", reply.body))
    code = case.get("code", 403 if "refuse" in case else None)
    if (code is None and reply.code >= 300) or (code is not None and reply.code != code):
        yield f"got {reply.code}, {said!r}"
        return
    for name in ("says", "reason"):
        wanted = _filled(case.get(name), uids)
        got = reply.body.get("message" if name == "says" else name)
        if wanted is not None and got != wanted:
            yield f"{name}\n    {got!r}, not\n    {wanted!r}"
    for path, wanted in case.get("becomes", {}).items():
        got = _at(reply.body, path)
        if got != _filled(wanted, uids):
            yield f"{path} is {got!r}, not {wanted!r}"
    if "warns" in case and reply.warnings != case["warns"]:
        yield f"warned {reply.warnings!r}, not {case['warns']!r}"


def _at(body: Any, path: str) -> Any:
    """A field by its path; parts are separated by dots, or by slashes if the path has any."""
    for part in path.split("/" if "/" in path else "."):
        if isinstance(body, list):
            body = body[int(part)] if int(part) < len(body) else None
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body


def _filled(value: Any, uids: dict[tuple[str, str], str]) -> Any:
    """The value with uids in the places that stand for them."""
    if isinstance(value, str):
        return _UID.sub(lambda match: uids[match[1], match[2]], value)
    if isinstance(value, dict):
        return {name: _filled(part, uids) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, uids) for part in value]
    return value


async def _make(obj: Obj, send: Send, admin: Who, uids: dict[tuple[str, str], str]) -> Obj:
    """Create one object, with its status where it has one."""
    group, _, version = obj["apiVersion"].rpartition("/")
    served = next(
        served
        for kind in _REGISTRY.kinds()
        if kind.kind == obj["kind"]
        and (served := _REGISTRY.lookup(group, version, kind.plural)) is not None
    )
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    if served.kind.namespaced:
        root += f"/namespaces/{obj['metadata'].get('namespace', 'default')}"
    path = f"{root}/{served.kind.plural}"
    body: Obj = _filled(obj, uids)
    reply = await send("POST", path, body, admin, {})
    if reply.code == 409:
        reply = await send("PATCH", f"{path}/{obj['metadata']['name']}", body, admin, _MERGES)
    assert reply.code < 300, reply.body
    if "status" in obj:
        path += f"/{obj['metadata']['name']}/status"
        patch = {"status": body["status"]}
        reply = await send("PATCH", path, patch, admin, _MERGES)
        assert reply.code == 200, reply.body
    return reply.body


def _rights(who: Who) -> Iterator[Obj]:
    """A role and a binding for each of a user's rights."""
    for index, sentence in enumerate(who.may):
        name = f"{who.name}-{index}"
        words = sentence.split()
        options = dict(zip(words[2::2], words[3::2], strict=True))
        scope: Obj = {"namespace": options["in"]} if "in" in options else {}
        role, binding = ("Role", "RoleBinding") if scope else ("ClusterRole", "ClusterRoleBinding")
        meta: Obj = {"apiVersion": f"{_RBAC}/v1", "metadata": {"name": name, **scope}}
        yield {**meta, "kind": role, "rules": [_rule(words[0], words[1], options.get("named"))]}
        yield {
            **meta,
            "kind": binding,
            "roleRef": {"apiGroup": _RBAC, "kind": role, "name": name},
            "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": who.name}],
        }


def _rule(verbs: str, what: str, named: str | None) -> Obj:
    if what.startswith("/"):
        return {"verbs": verbs.split(","), "nonResourceURLs": [what]}
    whole, _, subresource = what.partition("/")
    plural, _, group = whole.partition(".")
    resource = f"{plural}/{subresource}" if subresource else plural
    rule: Obj = {"verbs": verbs.split(","), "apiGroups": [group], "resources": [resource]}
    return rule | ({"resourceNames": [named]} if named else {})
