"""What every verb works with: a client, the namespace in effect, and the served resources."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import click

from kybern.api.errors import StatusError
from kybern.api.resources import Resource
from kybern.client import Client
from kybern.component.clock import Clock
from kybern.component.kubeconfig import load_access

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True)
class Served:
    """A resource as discovery shows it, with the other names it answers to."""

    resource: Resource
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def answers_to(self, name: str) -> bool:
        names = {self.resource.plural, self.singular, self.resource.kind.lower()}
        return name in names or name in self.short_names


@dataclass
class Session:
    """One command's connection to the API."""

    client: Client
    namespace: str
    _served: list[Served] | None = field(default=None, init=False)

    async def served(self) -> list[Served]:
        """All resources in their preferred versions, the core group first."""
        if self._served is None:
            self._served = [one for path in ("/api", "/apis") for one in await self._discover(path)]
        return self._served

    async def _discover(self, path: str) -> list[Served]:
        answer = await self.client.request("GET", path, headers={"Accept": AGGREGATED})
        if answer.status >= 400:
            raise StatusError(answer.status, "", f"discovery of {path} failed: {answer.status}")
        found: dict[tuple[str, str], Served] = {}
        for group in answer.json().get("items") or ():
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                for entry in version.get("resources") or ():
                    if "get" in entry["verbs"] or "list" in entry["verbs"]:
                        one = _served(name, version["version"], entry)
                        found.setdefault((name, entry["resource"]), one)
        return list(found.values())

    async def find(self, name: str) -> Served:
        """The resource called so: plural, singular, short name, kind, each with ``.group``."""
        plain, _, group = name.lower().partition(".")
        for one in await self.served():
            if one.answers_to(plain) and (not group or one.resource.group.startswith(group)):
                return one
        raise click.ClickException(f'the server doesn\'t have a resource type "{name}"')

    async def in_category(self, category: str) -> list[Served]:
        """The resources of a category such as ``all``."""
        return [one for one in await self.served() if category in one.categories]

    async def by_kind(self, api_version: str, kind: str) -> Resource:
        """The resource that serves an object's apiVersion and kind."""
        group, _, version = api_version.rpartition("/")
        for one in await self.served():
            if one.resource.kind == kind and one.resource.group == group:
                return one.resource._replace(version=version)
        raise click.ClickException(
            f'no matches for kind "{kind}" in version "{api_version}"; '
            "is its CustomResourceDefinition installed?"
        )


def _served(group: str, version: str, entry: dict) -> Served:  # type: ignore[type-arg]
    kind = (entry.get("responseKind") or {}).get("kind", "")
    namespaced = entry["scope"] == "Namespaced"
    return Served(
        Resource(group, version, entry["resource"], kind, namespaced),
        entry.get("singularResource", ""),
        tuple(entry.get("shortNames") or ()),
        tuple(entry.get("categories") or ()),
    )


def open_session(kubeconfig: str, context: str, namespace: str) -> Session:
    """Connect as the kubeconfig says; raises ClickException with what to do."""
    path = kubeconfig or os.environ.get("KUBECONFIG", "") or str(Path.home() / ".kube" / "config")
    try:
        access = load_access(path, context)
    except FileNotFoundError:
        raise click.ClickException(
            f"no kubeconfig at {path}; 'kybern up' starts a cluster and leaves one"
        ) from None
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    client = Client.from_access(access, Clock(), user_agent="kubectl")
    return Session(client, namespace or access.namespace)
