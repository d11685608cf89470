"""Which resources the API server serves, for controllers that work on every kind.

Reads aggregated discovery, so resources that come and go with CustomResourceDefinitions are found
like built-in ones. Used by the namespace controller and the garbage collector.
"""

from dataclasses import dataclass

from kybern.api.errors import StatusError
from kybern.api.resources import Resource
from kybern.client import Client

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@dataclass(frozen=True)
class ServedResource:
    """A resource in its group's preferred version, and what may be done with it."""

    resource: Resource
    verbs: frozenset[str]


async def discover(client: Client) -> tuple[list[ServedResource], list[str]]:
    """All top-level resources, and the group versions whose discovery is stale."""
    served: dict[tuple[str, str], ServedResource] = {}
    stale: list[str] = []
    for path in ("/api", "/apis"):
        answer = await client.request("GET", path, headers={"Accept": AGGREGATED})
        if answer.status >= 400:
            raise StatusError(answer.status, "", f"discovery of {path} failed")
        for group in answer.json().get("items") or ():
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                if version.get("freshness") == "Stale":
                    stale.append(f"{name}/{version['version']}")
                for entry in version.get("resources") or ():
                    key = (name, entry["resource"])
                    if key not in served:
                        served[key] = _served(name, version["version"], entry)
    return list(served.values()), stale


def _served(group: str, version: str, entry: dict) -> ServedResource:  # type: ignore[type-arg]
    kind = (entry.get("responseKind") or {}).get("kind", "")
    namespaced = entry["scope"] == "Namespaced"
    resource = Resource(group, version, entry["resource"], kind, namespaced)
    return ServedResource(resource, frozenset(entry["verbs"]))
