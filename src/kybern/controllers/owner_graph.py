"""The graph of owners and dependents that the garbage collector walks.

Nodes are objects by uid, edges are ownerReferences. An owner that is referred to but was never
seen is a virtual node until the API server says whether it exists. Pure bookkeeping: events go in,
nodes that need a look come out through the two callbacks' queues in ``garbage_collector.py``. Its
size is that of the cluster: some 500 bytes an object.
"""

from dataclasses import dataclass, field

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(slots=True, eq=False)
class Node:
    """One object: where it is, who owns it, who depends on it."""

    uid: str
    api_version: str
    kind: str
    namespace: str
    name: str
    resource: Resource | None = None
    owners: list[Obj] = field(default_factory=list)
    dependents: dict[str, "Node"] = field(default_factory=dict)
    deleting: bool = False
    waiting_for_dependents: bool = False
    orphaning: bool = False
    observed: bool = False

    def is_elsewhere(self, dependent: "Node") -> bool:
        """This object is known, but not where the dependent's reference can reach it."""
        return self.observed and bool(self.namespace) and self.namespace != dependent.namespace

    def blocking_dependents(self) -> list["Node"]:
        """Dependents whose reference says that this owner must outlive them."""
        return [
            one
            for one in self.dependents.values()
            if any(o["uid"] == self.uid and o.get("blockOwnerDeletion") for o in one.owners)
        ]


class OwnerGraph:
    """Keeps nodes and edges; ``observe`` and ``forget`` return the nodes to look at."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def get(self, uid: str) -> Node | None:
        return self.nodes.get(uid)

    def observe(self, resource: Resource, obj: Obj) -> list[Node]:
        """An object was added or changed."""
        known = self.nodes.get(objects.uid(obj))
        appears = known is not None and not known.observed
        node = self._node_of(resource, obj)
        before = {owner["uid"]: owner for owner in node.owners}
        node.owners = objects.owner_references(obj)
        touched: list[Node] = []
        if appears:
            touched += [one for one in node.dependents.values() if node.is_elsewhere(one)]
        for owner in node.owners:
            if owner["uid"] not in before:
                touched += self._link(node, owner)
        after = {owner["uid"] for owner in node.owners}
        for uid, owner in before.items():
            if uid not in after:
                touched += self._unlink(node, uid)
            elif owner.get("blockOwnerDeletion") and uid in self.nodes:
                touched.append(self.nodes[uid])
        return [*touched, *self._note_deletion(node, obj)]

    def _node_of(self, resource: Resource, obj: Obj) -> Node:
        uid = objects.uid(obj)
        node = self.nodes.get(uid)
        if node is None:
            node = self.nodes[uid] = Node(uid, "", "", "", "")
        node.resource, node.observed = resource, True
        node.api_version, node.kind = resource.api_version, resource.kind
        node.namespace, node.name = objects.namespace(obj), objects.name(obj)
        return node

    def _note_deletion(self, node: Node, obj: Obj) -> list[Node]:
        if not objects.is_deleting(obj):
            return []
        finalizers = objects.finalizers(obj)
        newly = not node.deleting or (
            (FOREGROUND in finalizers) != node.waiting_for_dependents
            or (ORPHAN in finalizers) != node.orphaning
        )
        node.deleting = True
        node.waiting_for_dependents = FOREGROUND in finalizers
        node.orphaning = ORPHAN in finalizers
        if not newly:
            return []
        return [node, *(node.dependents.values() if node.waiting_for_dependents else ())]

    def _link(self, node: Node, owner: Obj) -> list[Node]:
        """Add an edge; an owner that was never seen becomes a virtual node to check."""
        held = self.nodes.get(owner["uid"])
        if held is None:
            held = Node(
                owner["uid"], owner["apiVersion"], owner["kind"], node.namespace, owner["name"]
            )
            self.nodes[owner["uid"]] = held
        held.dependents[node.uid] = node
        if held.waiting_for_dependents or held.is_elsewhere(node):
            return [node]
        return [] if held.observed else [held]

    def _unlink(self, node: Node, uid: str) -> list[Node]:
        owner = self.nodes.get(uid)
        if owner is None:
            return []
        owner.dependents.pop(node.uid, None)
        if not owner.observed and not owner.dependents:
            del self.nodes[uid]
            return []
        return [owner]

    def forget(self, uid: str) -> list[Node]:
        """An object is gone: its dependents need a look, and owners that waited for it."""
        node = self.nodes.pop(uid, None)
        if node is None:
            return []
        touched = list(node.dependents.values())
        for owner in node.owners:
            touched += self._unlink(node, owner["uid"])
        if node.dependents:
            ghost = Node(uid, node.api_version, node.kind, node.namespace, node.name)
            ghost.dependents = node.dependents
            self.nodes[uid] = ghost
        return touched
