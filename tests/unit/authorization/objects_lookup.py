"""A Lookup over a list of objects, and short ways to write roles and bindings."""

from kybern.api.errors import Obj
from kybern.api.resources import Resource
from kybern.apiserver.lookup import Change

GROUP = "rbac.authorization.k8s.io"


class ObjectsLookup:
    """Objects by kind; ``put`` and ``drop`` report changes as the caches do."""

    def __init__(self, *objects: Obj) -> None:
        self._objects: dict[tuple[str, str, str], Obj] = {}
        self._callbacks: dict[str, list[Change]] = {}
        for obj in objects:
            self.put(obj)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        return self._objects.get((resource.kind, namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        return [
            obj
            for (kind, where, _), obj in sorted(self._objects.items())
            if kind == resource.kind and (not namespace or where == namespace)
        ]

    def on_change(self, resource: Resource, callback: Change) -> None:
        for obj in self.list(resource):
            callback(None, obj)
        self._callbacks.setdefault(resource.kind, []).append(callback)

    def put(self, obj: Obj) -> None:
        key = _key(obj)
        old = self._objects.get(key)
        self._objects[key] = obj
        for callback in self._callbacks.get(obj["kind"], []):
            callback(old, obj)

    def drop(self, obj: Obj) -> None:
        self._objects.pop(_key(obj))
        for callback in self._callbacks.get(obj["kind"], []):
            callback(obj, None)


def _key(obj: Obj) -> tuple[str, str, str]:
    metadata = obj["metadata"]
    return obj["kind"], metadata.get("namespace", ""), metadata["name"]


def rule(
    verbs: str, groups: str = "", resources: str = "", names: str = "", paths: str = ""
) -> Obj:
    if paths:
        return {"verbs": verbs.split(), "nonResourceURLs": paths.split()}
    found: Obj = {
        "verbs": verbs.split(),
        "apiGroups": ["" if g == "core" else g for g in groups.split()],
        "resources": resources.split(),
    }
    if names:
        found["resourceNames"] = names.split()
    return found


def role(name: str, *rules: Obj, namespace: str = "") -> Obj:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    kind = "Role" if namespace else "ClusterRole"
    return {"kind": kind, "metadata": metadata, "rules": list(rules)}


def binding(name: str, role_name: str, *subjects: str, namespace: str = "", of: str = "") -> Obj:
    """``subjects`` are ``user:jane``, ``group:devs`` or ``sa:NAMESPACE/NAME``."""
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": of or "ClusterRole", "name": role_name},
        "subjects": [_subject(text) for text in subjects],
    }


def _subject(text: str) -> Obj:
    kind, _, name = text.partition(":")
    if kind == "sa":
        namespace, _, account = name.partition("/")
        return {"kind": "ServiceAccount", "namespace": namespace, "name": account}
    return {"kind": kind.capitalize(), "apiGroup": GROUP, "name": name}
