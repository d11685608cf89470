"""Role-based access control: roles and bindings, indexed by subject, with a cache of decisions.

The caches report every change of the four kinds; a change empties what was derived from them.
Between changes a decision for a known user and kind of request is one dict lookup. Both derived
caches are bounded and start over when they are full.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kybern.api.errors import Obj, StatusError, not_found
from kybern.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from kybern.api.user import UserInfo
from kybern.apiserver.authorization.authorizer import NO_OPINION, Decision
from kybern.apiserver.authorization.policy_rules import CompiledRule
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.request_info import Attributes

GROUP = "rbac.authorization.k8s.io"
_SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
_MAX_DECISIONS = 65536
_MAX_RULE_SETS = 8192

# A subject: ("User", name), ("Group", name) or ("User", the service account's user name).
Subject = tuple[str, str]


class Grant(NamedTuple):
    """One binding's promise to one subject."""

    binding: Obj
    subject: Obj


class BoundRule(NamedTuple):
    """A rule that a user holds, and through which binding."""

    rule: CompiledRule
    source: Obj
    grant: Grant

    def reason(self) -> str:
        return "RBAC: allowed by " + _describe(self.grant)


class RuleSet(NamedTuple):
    """All rules of a user in a namespace, and what was wrong with their roles."""

    rules: tuple[BoundRule, ...]
    errors: tuple[str, ...]


class RbacAuthorizer:
    """Judges by the roles and bindings that ``lookup`` knows."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._cluster: dict[Subject, dict[str, list[Grant]]] = {}
        self._namespaced: dict[tuple[str, Subject], dict[str, list[Grant]]] = {}
        self._compiled: dict[str, list[tuple[CompiledRule, Obj]]] = {}
        self._rule_sets: dict[tuple[str, tuple[str, ...], str], RuleSet] = {}
        self._decisions: dict[tuple[object, ...], Decision | None] = {}
        for resource in (CLUSTER_ROLES, ROLES):
            lookup.on_change(resource, self._role_changed)
        lookup.on_change(CLUSTER_ROLE_BINDINGS, self._cluster_binding_changed)
        lookup.on_change(ROLE_BINDINGS, self._binding_changed)

    def decide(self, attributes: Attributes) -> Decision:
        user = attributes.user
        # The name and path are left out, so that requests for a thousand pods share an entry; a
        # decision that depends on them is not kept.
        key = (
            user.name,
            user.groups,
            attributes.verb,
            attributes.group,
            attributes.resource,
            attributes.subresource,
            attributes.namespace,
            "" if attributes.is_resource_request else attributes.path,
        )
        known = self._decisions.get(key)
        if known is not None:
            return known
        decision, by_name = self._evaluate(attributes)
        if not by_name:
            if len(self._decisions) >= _MAX_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = decision
        return decision

    def rules_for(self, user: UserInfo, namespace: str) -> RuleSet:
        """Every rule of the user in the namespace (cluster-wide ones alone, if it is empty)."""
        key = (user.name, user.groups, namespace)
        found = self._rule_sets.get(key)
        if found is None:
            if len(self._rule_sets) >= _MAX_RULE_SETS:
                self._rule_sets.clear()
            found = self._rule_sets[key] = self._resolve(user, namespace)
        return found

    def role_rules(self, role_ref: Obj, namespace: str) -> list[Obj]:
        """The rules of a role that a binding refers to; raises 404 if there is no such role."""
        name = role_ref.get("name", "")
        if role_ref.get("kind") == "Role":
            role = self._lookup.get(ROLES, name, namespace)
            if role is None:
                raise not_found("roles", name, GROUP)
        elif role_ref.get("kind") == "ClusterRole":
            role = self._lookup.get(CLUSTER_ROLES, name)
            if role is None:
                raise not_found("clusterroles", name, GROUP)
        else:
            kind = role_ref.get("kind", "")
            raise StatusError(500, "InternalError", f'unsupported role reference kind: "{kind}"')
        return role.get("rules") or []

    def _evaluate(self, attributes: Attributes) -> tuple[Decision, bool]:
        by_name = False
        rule_set = self.rules_for(attributes.user, attributes.namespace)
        for bound in rule_set.rules:
            rule = bound.rule
            if not rule.concerns(attributes):
                continue
            if not rule.names or not attributes.is_resource_request:
                return Decision(True, bound.reason()), False
            by_name = True
            if attributes.name in rule.names:
                return Decision(True, bound.reason()), True
        if rule_set.errors:
            return Decision(False, "RBAC: " + _aggregate(rule_set.errors)), by_name
        return NO_OPINION, by_name

    def _resolve(self, user: UserInfo, namespace: str) -> RuleSet:
        rules: list[BoundRule] = []
        errors: list[str] = []
        for grant in self._grants(user, namespace):
            role_ref = grant.binding["roleRef"]
            try:
                compiled = self._compile(role_ref, _namespace(grant.binding))
            except StatusError:
                kind = role_ref.get("kind", "").lower()
                errors.append(f'{kind}.{GROUP} "{role_ref.get("name", "")}" not found')
                continue
            rules += [BoundRule(rule, source, grant) for rule, source in compiled]
        return RuleSet(tuple(rules), tuple(errors))

    def _grants(self, user: UserInfo, namespace: str) -> Iterator[Grant]:
        """What each binding gives the user; a binding counts once, by its first subject."""
        subjects: list[Subject] = [("User", user.name)]
        subjects += [("Group", group) for group in user.groups]
        yield from _first_per_binding(self._cluster.get(subject, {}) for subject in subjects)
        if namespace:
            yield from _first_per_binding(
                self._namespaced.get((namespace, subject), {}) for subject in subjects
            )

    def _compile(self, role_ref: Obj, namespace: str) -> list[tuple[CompiledRule, Obj]]:
        kind = role_ref.get("kind", "")
        key = f"{kind}/{namespace if kind == 'Role' else ''}/{role_ref.get('name', '')}"
        found = self._compiled.get(key)
        if found is None:
            rules = self.role_rules(role_ref, namespace)
            found = self._compiled[key] = [(CompiledRule(rule), rule) for rule in rules]
        return found

    def _forget(self) -> None:
        self._rule_sets.clear()
        self._decisions.clear()

    def _role_changed(self, old: Obj | None, new: Obj | None) -> None:
        role = new or old
        assert role is not None
        namespace = _namespace(role)
        kind = "Role" if namespace else "ClusterRole"
        self._compiled.pop(f"{kind}/{namespace}/{role['metadata']['name']}", None)
        self._forget()

    def _cluster_binding_changed(self, old: Obj | None, new: Obj | None) -> None:
        for binding, add in ((old, False), (new, True)):
            for subject, grant in _subjects(binding):
                _index(self._cluster, subject, grant, add)
        self._forget()

    def _binding_changed(self, old: Obj | None, new: Obj | None) -> None:
        for binding, add in ((old, False), (new, True)):
            for subject, grant in _subjects(binding):
                _index(self._namespaced, (_namespace(grant.binding), subject), grant, add)
        self._forget()


def _index(index: dict, key: object, grant: Grant, add: bool) -> None:
    """Add a grant to, or take a binding's grants out of, the index under one subject."""
    name = grant.binding["metadata"]["name"]
    if add:
        index.setdefault(key, {}).setdefault(name, []).append(grant)
    elif key in index:
        index[key].pop(name, None)
        if not index[key]:
            del index[key]


def _subjects(binding: Obj | None) -> Iterator[tuple[Subject, Grant]]:
    if binding is None:
        return
    namespace = _namespace(binding)
    for subject in binding.get("subjects") or []:
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind == "ServiceAccount":
            of = subject.get("namespace") or namespace
            if of:
                yield ("User", f"{_SERVICE_ACCOUNT_PREFIX}{of}:{name}"), Grant(binding, subject)
        elif kind in ("User", "Group"):
            yield (kind, name), Grant(binding, subject)


def _first_per_binding(found: Iterable[dict[str, list[Grant]]]) -> Iterator[Grant]:
    grants: dict[str, Grant] = {}
    for by_binding in found:
        for name, of_binding in by_binding.items():
            grants.setdefault(name, of_binding[0])
    for name in sorted(grants):
        yield grants[name]


def _namespace(obj: Obj) -> str:
    namespace: str = obj["metadata"].get("namespace", "")
    return namespace


def _describe(grant: Grant) -> str:
    metadata, role = grant.binding["metadata"], grant.binding["roleRef"]
    namespace = _namespace(grant.binding)
    kind, name = "ClusterRoleBinding", metadata["name"]
    if namespace:
        kind, name = "RoleBinding", f"{name}/{namespace}"
    subject = grant.subject
    who = subject["name"]
    if subject["kind"] == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or namespace}"
    return f'{kind} "{name}" of {role["kind"]} "{role["name"]}" to {subject["kind"]} "{who}"'


def _aggregate(errors: Iterable[str]) -> str:
    texts = list(dict.fromkeys(errors))
    return texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
