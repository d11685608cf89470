"""What one RBAC rule allows, and which rules cover others.

Pure functions on PolicyRule dicts: the evaluator compiles them, the Node authorizer applies its
own static set, and escalation checks compare what is granted with what the granter holds.
"""

from collections.abc import Iterable, Sequence

from kybern.api.errors import Obj
from kybern.apiserver.request_info import Attributes


class CompiledRule:
    """A rule with its words as sets."""

    __slots__ = (
        "any_group",
        "any_resource",
        "any_verb",
        "groups",
        "names",
        "path_prefixes",
        "paths",
        "resources",
        "verbs",
    )

    def __init__(self, rule: Obj) -> None:
        self.verbs = frozenset(rule.get("verbs") or ())
        self.groups = frozenset(rule.get("apiGroups") or ())
        self.resources = frozenset(rule.get("resources") or ())
        self.names = frozenset(rule.get("resourceNames") or ())
        paths = rule.get("nonResourceURLs") or ()
        self.paths = frozenset(paths)
        self.path_prefixes = tuple(path.rstrip("*") for path in paths if path.endswith("*"))
        self.any_verb = "*" in self.verbs
        self.any_group = "*" in self.groups
        self.any_resource = "*" in self.resources

    def allows(self, attributes: Attributes) -> bool:
        if not self.concerns(attributes):
            return False
        return not attributes.is_resource_request or not self.names or attributes.name in self.names

    def concerns(self, attributes: Attributes) -> bool:
        """Whether the rule allows the request for some name of an object."""
        if not (self.any_verb or attributes.verb in self.verbs):
            return False
        if not attributes.is_resource_request:
            return self._covers_path(attributes.path)
        return self._covers_resource(attributes.group, attributes.resource, attributes.subresource)

    def _covers_resource(self, group: str, resource: str, subresource: str) -> bool:
        if not (self.any_group or group in self.groups):
            return False
        if self.any_resource:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or (
            f"*/{subresource}" in self.resources
        )

    def _covers_path(self, path: str) -> bool:
        return path in self.paths or (
            bool(self.path_prefixes) and path.startswith(self.path_prefixes)
        )


def uncovered(held: Iterable[Obj], wanted: Iterable[Obj]) -> list[Obj]:
    """The parts of ``wanted``, one verb and resource each, that no rule held covers."""
    owned = list(held)
    return [
        part
        for rule in wanted
        for part in _parts(rule)
        if not any(_covers(owner, part) for owner in owned)
    ]


def _parts(rule: Obj) -> list[Obj]:
    verbs = rule.get("verbs") or []
    names: Sequence[str | None] = rule.get("resourceNames") or [None]
    parts: list[Obj] = []
    for group in rule.get("apiGroups") or []:
        for resource in rule.get("resources") or []:
            for verb in verbs:
                for name in names:
                    part: Obj = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                    if name is not None:
                        part["resourceNames"] = [name]
                    parts.append(part)
    parts += [
        {"nonResourceURLs": [path], "verbs": [verb]}
        for path in rule.get("nonResourceURLs") or []
        for verb in verbs
    ]
    return parts


def _covers(owner: Obj, part: Obj) -> bool:
    verbs = owner.get("verbs") or []
    if "*" not in verbs and part["verbs"][0] not in verbs:
        return False
    if "nonResourceURLs" in part:
        path = part["nonResourceURLs"][0]
        return any(_path_covers(held, path) for held in owner.get("nonResourceURLs") or [])
    groups = owner.get("apiGroups") or []
    if "*" not in groups and part["apiGroups"][0] not in groups:
        return False
    if not _resource_covers(owner.get("resources") or [], part["resources"][0]):
        return False
    names = owner.get("resourceNames") or []
    if not names:
        return True
    return "resourceNames" in part and part["resourceNames"][0] in names


def _resource_covers(held: Sequence[str], resource: str) -> bool:
    if "*" in held or resource in held:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in held


def _path_covers(held: str, path: str) -> bool:
    return held == path or (held.endswith("*") and path.startswith(held.rstrip("*")))


def compact(rules: Iterable[Obj]) -> list[Obj]:
    """Rules of one group and one resource merged over their verbs, as upstream reports them."""
    merged: dict[tuple[str, str, str], Obj] = {}
    kept: list[Obj] = []
    for rule in rules:
        if len(rule.get("apiGroups") or []) != 1 or len(rule.get("resources") or []) != 1:
            kept.append(rule)
            continue
        names = rule.get("resourceNames") or []
        if len(names) > 1 or rule.get("nonResourceURLs"):
            kept.append(rule)
            continue
        key = (rule["apiGroups"][0], rule["resources"][0], names[0] if names else "")
        if key in merged:
            merged[key]["verbs"] += rule["verbs"]
        else:
            merged[key] = {**rule, "verbs": list(rule["verbs"])}
    return [*kept, *merged.values()]


def describe(rule: Obj) -> str:
    """A rule in one line: ``{APIGroups:[""], Resources:["pods"], Verbs:["get"]}``."""
    parts = [
        f"{title}:{_quoted(rule[field])}"
        for title, field in (
            ("APIGroups", "apiGroups"),
            ("Resources", "resources"),
            ("NonResourceURLs", "nonResourceURLs"),
            ("ResourceNames", "resourceNames"),
            ("Verbs", "verbs"),
        )
        if rule.get(field)
    ]
    return "{" + ", ".join(parts) + "}"


def _quoted(words: Sequence[str]) -> str:
    return "[" + " ".join(f'"{word}"' for word in words) + "]"
