"""FlowSchemas as predicates: which of them a request matches, and what sets its flow apart."""

from collections.abc import Callable, Sequence

from kybern.api.errors import Obj
from kybern.api.user import UserInfo
from kybern.apiserver.request_info import RequestInfo

_ANY = "*"
_SERVICE_ACCOUNT = "system:serviceaccount:"


class FlowSchema:
    """A stored FlowSchema; its name, UID and level are those of the object."""

    def __init__(self, obj: Obj) -> None:
        metadata, spec = obj["metadata"], obj["spec"]
        self.name: str = metadata["name"]
        self.uid: str = metadata.get("uid", "")
        self.level: str = spec["priorityLevelConfiguration"]["name"]
        self.precedence: int = spec.get("matchingPrecedence", 0)
        self._rules = spec.get("rules") or ()
        method = (spec.get("distinguisherMethod") or {}).get("type", "")
        self._distinguish = _DISTINGUISHERS.get(method, _nothing)

    def matches(self, user: UserInfo, info: RequestInfo) -> bool:
        return any(_matches(rule, user, info) for rule in self._rules)

    def distinguisher(self, user: UserInfo, info: RequestInfo) -> str:
        """What tells the flows of this schema apart."""
        return self._distinguish(user, info)


def _nothing(user: UserInfo, info: RequestInfo) -> str:
    return ""


_DISTINGUISHERS: dict[str, Callable[[UserInfo, RequestInfo], str]] = {
    "ByUser": lambda user, info: user.name,
    "ByNamespace": lambda user, info: info.namespace,
}


def _matches(rule: Obj, user: UserInfo, info: RequestInfo) -> bool:
    if not any(_is_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if info.is_resource_request:
        return any(_covers(one, info) for one in rule.get("resourceRules") or ())
    return any(_covers_path(one, info) for one in rule.get("nonResourceRules") or ())


def _is_subject(subject: Obj, user: UserInfo) -> bool:
    kind = subject["kind"]
    if kind == "User":
        return subject["user"]["name"] in (_ANY, user.name)
    if kind == "Group":
        group = subject["group"]["name"]
        return group == _ANY or group in user.groups
    account = subject["serviceAccount"]
    prefix = f"{_SERVICE_ACCOUNT}{account['namespace']}:"
    if account["name"] == _ANY:
        return user.name.startswith(prefix)
    return bool(user.name == prefix + account["name"])


def _covers(rule: Obj, info: RequestInfo) -> bool:
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    if not (
        _contains(rule["verbs"], info.verb)
        and _contains(rule["resources"], resource)
        and _contains(rule["apiGroups"], info.group)
    ):
        return False
    if not info.namespace:
        return bool(rule.get("clusterScope"))
    return _contains(rule.get("namespaces") or (), info.namespace)


def _covers_path(rule: Obj, info: RequestInfo) -> bool:
    if not _contains(rule["verbs"], info.verb):
        return False
    return any(_is_path(url, info.path) for url in rule["nonResourceURLs"])


def _is_path(url: str, path: str) -> bool:
    if url in (_ANY, path):
        return True
    prefix = url.removesuffix(_ANY)
    return path.startswith(prefix if prefix.endswith("/") else prefix + "/")


def _contains(values: Sequence[str], value: str) -> bool:
    return _ANY in values or value in values
