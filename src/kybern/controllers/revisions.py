"""ControllerRevisions: the templates that a DaemonSet or StatefulSet has had, by number.

Both controllers keep one revision a pod template; ``kubectl rollout history`` and ``undo`` read
them. A revision's data is the patch that brings its template back.
"""

from collections.abc import Sequence

import orjson

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONTROLLER_REVISIONS
from kybern.api.selectors import LabelSelector
from kybern.client import Client, Informer
from kybern.controllers.replicas import controller_uids
from kybern.controllers.rollout import template_hash

# What pods carry: a DaemonSet's the hash, a StatefulSet's the revision's whole name.
HASH_LABEL = "controller-revision-hash"


def patch_of(owner: Obj) -> Obj:
    """The patch that puts the owner's present template in place of another.

    Its fields are in alphabetical order, as upstream writes them: clients compare the bytes.
    """
    patch = {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}
    ordered: Obj = orjson.loads(orjson.dumps(patch, option=orjson.OPT_SORT_KEYS))
    return ordered


def template_in(revision: Obj) -> Obj:
    """The pod template that a revision holds."""
    held = revision["data"]["spec"]["template"]
    return {field: value for field, value in held.items() if field != "$patch"}


def number(revision: Obj) -> int:
    return revision.get("revision", 0)


def next_number(revisions: Sequence[Obj]) -> int:
    return max((number(one) for one in revisions), default=0) + 1


def oldest_first(revisions: Sequence[Obj]) -> list[Obj]:
    return sorted(
        revisions,
        key=lambda one: (
            number(one),
            one["metadata"].get("creationTimestamp") or "",
            objects.name(one),
        ),
    )


class RevisionControl:
    """Reads and writes the revisions of one kind of owner."""

    def __init__(self, client: Client, revisions: Informer) -> None:
        self.client = client
        self.revisions = revisions
        revisions.add_index("controller", controller_uids)

    def owned(self, owner: Obj) -> list[Obj]:
        """The owner's revisions, oldest first."""
        return oldest_first(self.revisions.by_index("controller", objects.uid(owner)))

    async def claim(self, owner: Obj) -> list[Obj]:
        """The owner's revisions, oldest first; orphans that its selector matches are adopted."""
        claimed = self.owned(owner)
        if objects.is_deleting(owner):
            return claimed
        selector = LabelSelector.from_object(owner["spec"]["selector"])
        for one in self.revisions.list(objects.namespace(owner)):
            orphan = objects.controller_of(one) is None and not objects.is_deleting(one)
            if orphan and selector.matches(objects.labels(one)):
                claimed.append(await self._adopt(owner, one))
        return oldest_first(claimed)

    async def _adopt(self, owner: Obj, revision: Obj) -> Obj:
        references = [objects.controller_reference(owner)]
        meta = {"ownerReferences": references, "uid": objects.uid(revision)}
        return await self._patch(revision, {"metadata": meta})

    async def renumber(self, revision: Obj, to: int) -> Obj:
        """An old template is current again: its revision becomes the latest."""
        return revision if number(revision) == to else await self._patch(revision, {"revision": to})

    async def _patch(self, revision: Obj, patch: Obj) -> Obj:
        name, namespace = objects.name(revision), objects.namespace(revision)
        patched = await self.client.patch(
            CONTROLLER_REVISIONS, name, patch, namespace, kind="strategic"
        )
        await self.revisions.reached(objects.resource_version(patched))
        return patched

    async def create(self, owner: Obj, revision: int, hash_label: str) -> tuple[Obj, int]:
        """The revision of the owner's present template, and the owner's count of collisions.

        A name that another template holds already is a collision of hashes: the count goes up and
        changes the next hash.
        """
        collisions = objects.status(owner).get("collisionCount", 0)
        while True:
            made = self._revision(owner, revision, hash_label, collisions)
            try:
                made = await self.client.create(CONTROLLER_REVISIONS, made)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                name, namespace = objects.name(made), objects.namespace(made)
                held = await self.client.get(CONTROLLER_REVISIONS, name, namespace)
                if objects.is_controlled_by(held, owner) and held["data"] == made["data"]:
                    return held, collisions
                collisions += 1
                continue
            await self.revisions.reached(objects.resource_version(made))
            return made, collisions

    def _revision(self, owner: Obj, revision: int, hash_label: str, collisions: int) -> Obj:
        template = owner["spec"]["template"]
        hashed = template_hash(template, collisions)
        labels = (template.get("metadata") or {}).get("labels") or {}
        return {
            "metadata": {
                "name": f"{objects.name(owner)}-{hashed}",
                "namespace": objects.namespace(owner),
                "labels": {**labels, hash_label: hashed},
                "annotations": dict(objects.annotations(owner)),
                "ownerReferences": [objects.controller_reference(owner)],
            },
            "data": patch_of(owner),
            "revision": revision,
        }

    async def trim(self, spare: Sequence[Obj], limit: int) -> None:
        """Delete the oldest of ``spare`` beyond ``limit``."""
        for one in oldest_first(spare)[: max(len(spare) - limit, 0)]:
            try:
                name, namespace = objects.name(one), objects.namespace(one)
                await self.client.delete(CONTROLLER_REVISIONS, name, namespace)
            except StatusError as error:
                if error.code != 404:
                    raise
