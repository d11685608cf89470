"""What nobody may use unless a quota of the namespace covers it: ResourceQuota's configuration."""

from collections.abc import Iterable, Sequence

from kybern.api import quota as rules
from kybern.api.errors import Obj, StatusError
from kybern.api.pod_resources import Amounts
from kybern.apiserver.admission.attributes import AdmissionAttributes


class LimitedResources:
    """``configuration`` is upstream's ResourceQuotaConfiguration."""

    def __init__(self, configuration: Obj) -> None:
        self._limited: list[Obj] = configuration.get("limitedResources") or []

    def concern(self, group: str, plural: str) -> bool:
        """Whether anything is limited for objects of a resource."""
        return bool(self._for(group, plural))

    def check(self, attributes: AdmissionAttributes, delta: Amounts, quotas: Sequence[Obj]) -> None:
        """Raise StatusError if the write uses what no quota covers."""
        group, plural, obj = attributes.group, attributes.resource, attributes.object or {}
        limited = self._for(group, plural)
        covered = {
            name
            for found in quotas
            if rules.selects(found, plural, obj)
            for name in rules.concerned_resources(group, plural, list(_hard(found)))
        }
        patterns = [text for found in limited for text in found.get("matchContains") or []]
        consumed = {
            name
            for name, amount in delta.items()
            if amount and any(text in name for text in patterns)
        }
        uncovered = sorted(consumed - covered)
        if uncovered:
            raise attributes.forbid(f"insufficient quota to consume: {','.join(uncovered)}")
        wanted = _matching((found.get("matchScopes") for found in limited), plural, obj)
        held = _matching((rules.scopes(found) for found in quotas), plural, obj)
        names = {scope.get("scopeName") for scope in held}
        missing = [scope for scope in wanted if scope.get("scopeName") not in names]
        if missing:
            listed = " ".join(map(_shown, missing))
            # Upstream's error has no reason, and so neither a better code.
            text = f"insufficient quota to match these scopes: [{listed}]"
            raise StatusError(500, "", text)

    def _for(self, group: str, plural: str) -> list[Obj]:
        return [
            found
            for found in self._limited
            if (found.get("apiGroup", ""), found.get("resource")) == (group, plural)
        ]


def _matching(lists: Iterable[list[Obj] | None], plural: str, obj: Obj) -> list[Obj]:
    """The scopes that the object is in."""
    return [scope for found in lists for scope in found or [] if rules.in_scope(scope, plural, obj)]


def _hard(found: Obj) -> Obj:
    return (found.get("status") or {}).get("hard") or {}


def _shown(scope: Obj) -> str:
    values = " ".join(scope.get("values") or [])
    return f"{{{scope.get('scopeName', '')} {scope.get('operator', '')} [{values}]}}"
