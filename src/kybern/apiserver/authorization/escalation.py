"""Nobody grants what they do not hold: checks on writes of roles and bindings.

The admission chain calls :class:`EscalationCheck` before a role or binding is stored. Who may
``escalate`` a role or ``bind`` it explicitly, or is in system:masters, passes.
"""

from kybern.api.errors import Obj, StatusError, forbidden, not_found
from kybern.api.user import MASTERS_GROUP, UserInfo
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.authorization.policy_rules import compact, describe, uncovered
from kybern.apiserver.authorization.rbac import GROUP, RbacAuthorizer
from kybern.apiserver.request_info import Attributes

_FULL_AUTHORITY: list[Obj] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]
_ROLES = ("roles", "clusterroles")
_BINDINGS = ("rolebindings", "clusterrolebindings")


class EscalationCheck:
    """Judges the contents of role and binding writes."""

    def __init__(self, authorizers: Authorizers, rbac: RbacAuthorizer) -> None:
        self._authorizers = authorizers
        self._rbac = rbac

    def check(
        self, user: UserInfo, resource: str, namespace: str, name: str, obj: Obj, old: Obj | None
    ) -> None:
        """Raise 403 if the write would give away more than the user holds."""
        if MASTERS_GROUP in user.groups or (old is not None and only_for_collection(obj, old)):
            return
        if resource in _ROLES:
            self._check_role(user, resource, namespace, name, obj, old)
        elif resource in _BINDINGS:
            self._check_binding(user, resource, namespace, obj)

    def _check_role(
        self, user: UserInfo, resource: str, namespace: str, name: str, obj: Obj, old: Obj | None
    ) -> None:
        if self._may(user, "escalate", resource, namespace, name):
            return
        role = obj["metadata"].get("name", "")
        self._confirm(user, resource, namespace, role, obj.get("rules") or [])
        if _aggregates(obj) or (old is not None and _aggregates(old)):
            try:
                self._confirm(user, resource, namespace, role, _FULL_AUTHORITY)
            except StatusError:
                why = "must have cluster-admin privileges to use the aggregationRule"
                raise forbidden(resource, role, why, GROUP) from None

    def _check_binding(self, user: UserInfo, resource: str, namespace: str, obj: Obj) -> None:
        role_ref = obj.get("roleRef") or {}
        roles = {"ClusterRole": "clusterroles", "Role": "roles"}.get(role_ref.get("kind", ""))
        if roles and self._may(user, "bind", roles, namespace, role_ref.get("name", "")):
            return
        try:
            rules = self._rbac.role_rules(role_ref, namespace)
        except StatusError as missing:
            if missing.code != 404:
                raise
            # Upstream names the binding's resource, with the name of the missing role.
            raise not_found(resource, role_ref.get("name", ""), GROUP) from None
        self._confirm(user, resource, namespace, obj["metadata"].get("name", ""), rules)

    def _may(self, user: UserInfo, verb: str, resource: str, namespace: str, name: str) -> bool:
        attributes = Attributes(
            user,
            verb,
            group=GROUP,
            version="*",
            resource=resource,
            namespace=namespace,
            name=name,
        )
        return self._authorizers.decide(attributes).allowed

    def _confirm(
        self, user: UserInfo, resource: str, namespace: str, name: str, rules: list[Obj]
    ) -> None:
        held = self._rbac.rules_for(user, namespace)
        missing = uncovered((bound.source for bound in held.rules), rules)
        if not missing:
            return
        lines = sorted({describe(rule) for rule in compact(missing)})
        groups = " ".join(f'"{group}"' for group in user.groups)
        why = (
            f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions '
            "not currently held:\n" + "\n".join(lines)
        )
        if held.errors:
            why += f"; resolution errors: [{' '.join(held.errors)}]"
        raise forbidden(resource, name, why, GROUP)


def _aggregates(role: Obj) -> bool:
    return bool((role.get("aggregationRule") or {}).get("clusterRoleSelectors"))


def only_for_collection(new: Obj, old: Obj) -> bool:
    """Whether only finalizers and owner references changed, as the garbage collector does."""
    return _without_collection_fields(new) == _without_collection_fields(old)


def _without_collection_fields(obj: Obj) -> Obj:
    changing = ("finalizers", "ownerReferences", "managedFields", "resourceVersion")
    metadata = {k: v for k, v in obj["metadata"].items() if k not in changing}
    return {**obj, "metadata": metadata}
