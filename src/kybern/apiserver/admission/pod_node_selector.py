"""PodNodeSelector: a namespace decides which nodes its pods may choose from."""

from collections.abc import Mapping

from kybern.api.errors import Obj, StatusError, forbidden, internal_error, not_found
from kybern.api.resources import NAMESPACES
from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"
_DEFAULT = "clusterDefaultNodeSelector"
_CONFLICT = "pod node label selector conflicts with its namespace node label selector"
_NOT_LISTED = "pod node label selector labels conflict with its namespace whitelist"


class PodNodeSelector(Plugin):
    """``configuration`` has the selectors that namespaces may choose, and the default one."""

    name = "PodNodeSelector"
    operations = (CREATE,)
    resources = (("", "pods"),)

    def __init__(self, configuration: Obj, lookup: Lookup) -> None:
        self._selectors: Mapping[str, str] = configuration.get("podNodeSelectorPluginConfig") or {}
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None:
            return
        spec = attributes.object["spec"]
        wanted = self._namespace_selector(attributes.namespace)
        own = spec.get("nodeSelector") or {}
        if any(own.get(key, value) != value for key, value in wanted.items()):
            raise _refused(attributes, _CONFLICT)
        if wanted:
            spec["nodeSelector"] = {**wanted, **own}

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None:
            return
        own = attributes.object["spec"].get("nodeSelector") or {}
        wanted = self._namespace_selector(attributes.namespace)
        if any(own.get(key, value) != value for key, value in wanted.items()):
            raise _refused(attributes, _CONFLICT)
        listed = _parsed(self._selectors.get(attributes.namespace, ""))
        if listed and any(listed.get(key) != value for key, value in own.items()):
            raise _refused(attributes, _NOT_LISTED)

    def _namespace_selector(self, name: str) -> dict[str, str]:
        namespace = self._lookup.get(NAMESPACES, name)
        if namespace is None:
            raise not_found("namespaces", name)
        annotations = namespace["metadata"].get("annotations") or {}
        return _parsed(annotations.get(_ANNOTATION, self._selectors.get(_DEFAULT, "")))


def _refused(attributes: AdmissionAttributes, why: str) -> StatusError:
    pod = attributes.object or {}
    return forbidden("pods", (pod.get("metadata") or {}).get("name", ""), why)


def _parsed(selector: str) -> dict[str, str]:
    """``a=b,c=d``; raises StatusError for anything else."""
    labels: dict[str, str] = {}
    for term in selector.split(",") if selector else []:
        key, equals, value = term.partition("=")
        if not equals:
            raise internal_error(f"invalid selector: {term}")
        labels[key.strip()] = value.removeprefix("=").strip()
    return labels
