"""Ways to put one write before one plugin."""

import asyncio
from collections.abc import Callable

import pytest

from kybern.api.errors import Obj
from kybern.api.kinds import Registry, builtin_registry
from kybern.api.resources import Resource
from kybern.api.user import ADMIN, UserInfo
from kybern.apiserver.admission import CREATE, AdmissionAttributes, Plugin
from kybern.apiserver.lookup import Change
from kybern.apiserver.request_info import RequestInfo

Write = Callable[..., AdmissionAttributes]
Judge = Callable[[Plugin, AdmissionAttributes], AdmissionAttributes]


class Known:
    """A Lookup over a few objects."""

    def __init__(self, *objects: Obj) -> None:
        self._objects = objects

    def get(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        return next(
            (o for o in self.list(resource, namespace) if o["metadata"]["name"] == name), None
        )

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        return [
            obj
            for obj in self._objects
            if obj["kind"] == resource.kind
            and (not namespace or obj["metadata"].get("namespace") == namespace)
        ]

    def on_change(self, resource: Resource, callback: Change) -> None:
        raise AssertionError("plugins look objects up when they need them")


@pytest.fixture(scope="session")
def registry() -> Registry:
    return builtin_registry()


@pytest.fixture
def known() -> type[Known]:
    return Known


@pytest.fixture
def write(registry: Registry) -> Write:
    """``write(obj, "pods")`` makes the attributes of a create by an administrator."""

    def make(
        obj: Obj | None,
        resource: str,
        *,
        old: Obj | None = None,
        operation: str = CREATE,
        user: UserInfo = ADMIN,
        namespace: str = "ns",
        name: str = "",
    ) -> AdmissionAttributes:
        path, _, subresource = resource.partition("/")
        plural, _, group = path.partition(".")
        served = registry.lookup(group, "v1", plural)
        assert served is not None, resource
        judged = obj if obj is not None else old
        info = RequestInfo(
            True,
            "",
            operation.lower(),
            group=group,
            version="v1",
            namespace=namespace if served.kind.namespaced else "",
            resource=plural,
            subresource=subresource,
            name=name or ((judged or {}).get("metadata") or {}).get("name", ""),
        )
        return AdmissionAttributes(info, user, operation, served, obj, old)

    return make


@pytest.fixture
def judge() -> Judge:
    """Run both halves of a plugin; raises what it raises."""

    def run(plugin: Plugin, attributes: AdmissionAttributes) -> AdmissionAttributes:
        info = attributes.info
        asked = (attributes.operation, info.group, info.resource, info.subresource)
        assert plugin.handles(*asked), f"{plugin.name} is never asked about {asked}"

        async def both() -> None:
            await plugin.admit(attributes)
            await plugin.validate(attributes)

        asyncio.run(both())
        return attributes

    return run
