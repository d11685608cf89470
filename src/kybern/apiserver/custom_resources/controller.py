"""Follows CustomResourceDefinitions and serves what they define.

The server starts one; it hears of every change of a definition through the lookup and works through
the names one by one: accept the names (unless another definition has them), register the kind, say
that it is Established. A definition that is deleted takes its objects along before it goes.
"""

import asyncio
import logging

from kybern.api.errors import Obj, StatusError
from kybern.api.objects import condition, condition_is, copy, is_deleting, set_condition
from kybern.api.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource
from kybern.apiserver.call import Services
from kybern.apiserver.custom_resources.definition import Definition, GroupVersionKind, define
from kybern.apiserver.custom_resources.shipped import serve_shipped, shipped_definitions
from kybern.apiserver.deletion import CUSTOM_RESOURCE_CLEANUP
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
_NAMES = ("plural", "singular", "kind", "listKind")


class CustomResources:
    """Keeps the registry in step with the definitions. ``published`` are schemas for OpenAPI."""

    def __init__(self, services: Services, lookup: Lookup, loopback: Loopback) -> None:
        self.published: dict[GroupVersionKind, Obj] = {}
        self._services = services
        self._lookup = lookup
        self._loopback = loopback
        self._served: dict[str, tuple[int, bool, Definition]] = {}
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve what ships and what is established already, and follow changes."""
        await serve_shipped(self._services, self.published)
        for crd in self._lookup.list(CUSTOM_RESOURCE_DEFINITIONS):
            if condition_is(crd, "Established"):
                await self._serve(crd)
        self._lookup.on_change(CUSTOM_RESOURCE_DEFINITIONS, self._changed)
        self._task = asyncio.create_task(self._run(), name="custom-resources")

    async def close(self) -> None:
        """Stop following; what is served stays so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        changed = new if new is not None else old
        assert changed is not None, "a change has an object before or after it"
        self._add(changed["metadata"]["name"])
        if new is None or old is None or old.get("status") != new.get("status"):
            self._add_group(changed["spec"]["group"])

    def _add_group(self, group: str) -> None:
        """Names that were taken may be free now."""
        for crd in self._lookup.list(CUSTOM_RESOURCE_DEFINITIONS):
            if crd["spec"]["group"] == group and not condition_is(crd, "NamesAccepted"):
                self._add(crd["metadata"]["name"])

    def _add(self, name: str) -> None:
        self._pending[name] = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                name = next(iter(self._pending))
                del self._pending[name]
                try:
                    await self._sync(name)
                except StatusError as error:
                    if error.code != 404 and error.reason != "Conflict":
                        log.warning("CustomResourceDefinition %s: %s", name, error)
                    self._later(name)
                except Exception:
                    log.exception("CustomResourceDefinition %s failed", name)
                    self._later(name)

    def _later(self, name: str) -> None:
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._add, name)

    async def _sync(self, name: str) -> None:
        crd = self._lookup.get(CUSTOM_RESOURCE_DEFINITIONS, name)
        if crd is None:
            self._unserve(name)
            return
        crd = await self._accept_names(crd)
        if condition_is(crd, "NamesAccepted"):
            await self._serve(crd)
            await self._establish(crd)
        if is_deleting(crd) and CUSTOM_RESOURCE_CLEANUP in (
            crd["metadata"].get("finalizers") or ()
        ):
            await self._clean_up(crd)

    async def _accept_names(self, crd: Obj) -> Obj:
        """The definition with its names accepted, as far as nobody else has them."""
        status = crd.get("status") or {}
        if crd["spec"]["names"] == status.get("acceptedNames") and condition(crd, "NamesAccepted"):
            return crd
        changed = copy(crd)
        reason, message = self._take_names(changed)
        accepted = not reason
        now = self._services.clock.timestamp()
        set_condition(
            changed,
            "NamesAccepted",
            "True" if accepted else "False",
            reason or "NoConflicts",
            message or "no conflicts found",
            now,
        )
        if not condition_is(changed, "Established"):
            why = (
                ("Installing", "the initial names have been accepted")
                if accepted
                else ("NotAccepted", "not all names are accepted")
            )
            set_condition(changed, "Established", "False", *why, now)
        if changed["status"] == status:
            return crd
        return await self._loopback.update(CUSTOM_RESOURCE_DEFINITIONS, changed, "status")

    def _take_names(self, crd: Obj) -> tuple[str, str]:
        """Move the wanted names that are free to the accepted ones; the last conflict."""
        wanted, accepted = crd["spec"]["names"], crd["status"].setdefault("acceptedNames", {})
        resources, kinds = self._names_of_others(crd)
        reason = message = ""
        for field in _NAMES:
            name = wanted.get(field, "")
            taken = kinds if field in ("kind", "listKind") else resources
            if name != accepted.get(field) and name in taken:
                reason = f"{field[0].upper()}{field[1:]}Conflict"
                message = f'"{name}" is already in use'
            elif name:
                accepted[field] = name
        clashes = [
            name
            for name in wanted.get("shortNames") or ()
            if name not in (accepted.get("shortNames") or ()) and name in resources
        ]
        if clashes:
            reason = "ShortNamesConflict"
            message = ", ".join(f'"{name}" is already in use' for name in clashes)
        elif wanted.get("shortNames"):
            accepted["shortNames"] = wanted["shortNames"]
        else:
            accepted.pop("shortNames", None)
        if wanted.get("categories"):
            accepted["categories"] = wanted["categories"]
        else:
            accepted.pop("categories", None)
        return reason, message

    def _names_of_others(self, crd: Obj) -> tuple[set[str], set[str]]:
        """Resource names and kinds that other definitions of the group have, shipped ones too."""
        resources: set[str] = set()
        kinds: set[str] = set()
        shipped = shipped_definitions()
        for other in [*self._lookup.list(CUSTOM_RESOURCE_DEFINITIONS), *shipped]:
            same = other["metadata"]["name"] == crd["metadata"]["name"] and other not in shipped
            if same or other["spec"]["group"] != crd["spec"]["group"]:
                continue
            names = (other.get("status") or {}).get("acceptedNames") or {}
            resources.update((names.get("plural", ""), names.get("singular", "")))
            resources.update(names.get("shortNames") or ())
            kinds.update((names.get("kind", ""), names.get("listKind", "")))
        return resources - {""}, kinds - {""}

    async def _serve(self, crd: Obj) -> None:
        """Register the kind of a definition, anew where the definition has changed."""
        name, generation = crd["metadata"]["name"], crd["metadata"].get("generation", 0)
        terminating = condition_is(crd, "Terminating")
        held = self._served.get(name)
        if held is not None and held[:2] == (generation, terminating):
            return
        definition = define(crd, terminating=terminating)
        await self._replace(name, definition, keep_cache=held is not None and held[0] == generation)
        self._served[name] = (generation, terminating, definition)

    async def _replace(self, name: str, definition: Definition, *, keep_cache: bool) -> None:
        self._unserve(name, keep_cache=keep_cache)
        services = self._services
        await services.caches.cache(definition.kind).start()
        services.custom_schemas.update(definition.schemas)
        services.scale_paths.update(definition.scale_paths)
        self.published.update(definition.published)
        services.registry.add(definition.kind, definition.served)

    def _unserve(self, name: str, *, keep_cache: bool = False) -> None:
        held = self._served.pop(name, None)
        if held is None:
            return
        definition, services = held[2], self._services
        services.registry.remove(definition.kind)
        if not keep_cache:
            services.caches.drop(definition.kind)
        for kind in definition.schemas:
            services.custom_schemas.pop(kind, None)
            services.scale_paths.pop(kind, None)
            self.published.pop(kind, None)

    async def _establish(self, crd: Obj) -> None:
        if condition_is(crd, "Established") or is_deleting(crd):
            return
        changed = copy(crd)
        message = "the initial names have been accepted"
        now = self._services.clock.timestamp()
        set_condition(changed, "Established", "True", "InitialNamesAccepted", message, now)
        await self._loopback.update(CUSTOM_RESOURCE_DEFINITIONS, changed, "status")

    async def _clean_up(self, crd: Obj) -> None:
        """Delete the objects of a definition that goes, then let it go."""
        held = self._served.get(crd["metadata"]["name"])
        if held is not None:
            kind = held[2].kind
            version = held[2].served[0].version
            resource = Resource(kind.group, version, kind.plural, kind.kind, kind.namespaced)
            left = self._lookup.list(resource)
            for obj in left:
                if not is_deleting(obj):
                    metadata = obj["metadata"]
                    name, namespace = metadata["name"], metadata.get("namespace", "")
                    await self._loopback.delete(resource, name, namespace)
            if self._lookup.list(resource):
                self._later(crd["metadata"]["name"])
                return
        self._unserve(crd["metadata"]["name"])
        changed = copy(crd)
        finalizers = [f for f in changed["metadata"]["finalizers"] if f != CUSTOM_RESOURCE_CLEANUP]
        changed["metadata"]["finalizers"] = finalizers
        await self._loopback.update(CUSTOM_RESOURCE_DEFINITIONS, changed)
