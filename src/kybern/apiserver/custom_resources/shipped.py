"""Kybern's own kinds, declared as definitions like those of users, but served from the start.

No CustomResourceDefinition object stands for them, so nobody deletes them by accident; names that
they take are taken for users' definitions, too.
"""

from functools import cache
from importlib.resources import files

from kybern.api import yaml
from kybern.api.errors import Obj
from kybern.apiserver.call import Services
from kybern.apiserver.custom_resources.definition import GroupVersionKind, define

FILES = ("pod_explanations.yaml",)


@cache
def shipped_definitions() -> tuple[Obj, ...]:
    """The definitions with their names accepted; read-only."""
    directory = files("kybern.apiserver.custom_resources")
    return tuple(yaml.load((directory / name).read_bytes()) for name in FILES)


async def serve_shipped(services: Services, published: dict[GroupVersionKind, Obj]) -> None:
    """Register the kinds; ``published`` gets their schemas for OpenAPI."""
    for crd in shipped_definitions():
        definition = define(crd)
        await services.caches.cache(definition.kind).start()
        services.custom_schemas.update(definition.schemas)
        published.update(definition.published)
        services.registry.add(definition.kind, definition.served)
