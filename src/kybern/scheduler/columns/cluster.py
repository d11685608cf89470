"""The cluster as the decision core sees it: nodes, the pods placed on them, and what they use.

The scheduler feeds it from informers (``set_node``, ``place``) and from its own decisions (assumed
pods are placed like bound ones). Plugins read the columns. Nothing here waits or does I/O.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api.selectors import LabelSelector
from kybern.scheduler.columns.column import keep_freed_memory
from kybern.scheduler.columns.match_groups import GroupKey, MatchGroup, MatchGroups
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.columns.storage import StorageObjects
from kybern.scheduler.pod_storage import attached_disks, claim_names, inline_disks
from kybern.scheduler.ports import HostPort, host_ports
from kybern.scheduler.requests import Requests, requests_of
from kybern.scheduler.workload_selectors import WorkloadSelectors

Obj = dict[str, Any]


LATER_THAN_ALL = "9999-12-31T23:59:59Z"


class PlacedPod:
    """A pod on a row."""

    __slots__ = (
        "claims",
        "group",
        "has_disks",
        "obj",
        "ports",
        "priority",
        "requests",
        "row",
        "start",
        "uid",
    )

    def __init__(self, obj: Obj, row: int, group: MatchGroup) -> None:
        self.obj = obj
        self.start = start_time(obj)
        self.uid: str = obj["metadata"]["uid"]
        self.row = row
        self.requests: Requests = requests_of(obj)
        self.priority: int = obj["spec"].get("priority") or 0
        self.ports: tuple[HostPort, ...] = host_ports(obj["spec"])
        self.claims: list[str] = claim_names(obj)
        self.has_disks = bool(inline_disks(obj) or attached_disks(obj))
        self.group = group


class ClusterColumns:
    """Nodes, placed pods, and everything derived from them."""

    def __init__(self) -> None:
        keep_freed_memory()
        self.nodes = NodeTable()
        self.groups = MatchGroups(self.nodes.capacity)
        self.nodes.on_growth.append(self.groups.grow)
        self.pods: dict[str, PlacedPod] = {}
        self.on_row: dict[int, dict[str, PlacedPod]] = {}
        self.ports: dict[int, list[HostPort]] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.namespaces_version = 0
        self.workloads = WorkloadSelectors()
        self.storage = StorageObjects()
        self.storage_pods: dict[int, dict[str, PlacedPod]] = {}
        self.claim_users: dict[str, int] = {}

    def set_node(self, node: Obj) -> bool:
        """A Node was added or changed; False if the change means nothing to scheduling."""
        return self.nodes.set_node(self.nodes.row(node["metadata"]["name"]), node)

    def remove_node(self, name: str) -> None:
        row = self.nodes.rows.get(name)
        if row is not None:
            self.nodes.clear_node(row)
            self._release_if_empty(row)

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """A Namespace's labels; None when it is gone."""
        if self.namespaces.get(name) == labels:
            return
        if labels is None:
            del self.namespaces[name]
        else:
            self.namespaces[name] = labels
        self.namespaces_version += 1
        self.groups.relink()

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        return self.namespaces.get(name) or {}

    def place(self, pod: Obj, node_name: str) -> PlacedPod:
        """Put a pod on a node, or refresh a placed one; the newest object and node win."""
        known = self.pods.get(pod["metadata"]["uid"])
        if known is not None:
            if self._is_same(known, pod, node_name):
                known.obj = pod
                if known.start != (start := start_time(pod)):
                    # How important the pod is to preemption changed.
                    known.start = start
                    self.nodes.usage.append(known.row)
                return known
            self.remove(known.uid)
        row = self.nodes.row(node_name)
        placed = PlacedPod(pod, row, self.groups.add(self._group_of(pod), row))
        self.pods[placed.uid] = placed
        self.on_row.setdefault(row, {})[placed.uid] = placed
        self._use(placed, 1)
        return placed

    def remove(self, uid: str) -> PlacedPod | None:
        """Take a pod off its node."""
        placed = self.pods.pop(uid, None)
        if placed is None:
            return None
        self.groups.remove(placed.group, placed.row)
        self._use(placed, -1)
        there = self.on_row[placed.row]
        del there[uid]
        if not there:
            del self.on_row[placed.row]
        self._release_if_empty(placed.row)
        return placed

    def watch_labels(self, selectors: Iterable[LabelSelector]) -> None:
        """These selectors look at pod labels from now on."""
        keys = [requirement.key for selector in selectors for requirement in selector.requirements]
        if not self.groups.watch_labels(keys):
            return
        self.groups.clear()
        for placed in self.pods.values():
            placed.group = self.groups.add(self.groups.group_of(placed.obj), placed.row)

    def detach(self, placed: PlacedPod) -> None:
        """Take a pod off for a moment (what if it were gone?); :meth:`attach` puts it back."""
        self.groups.remove(placed.group, placed.row)
        self._use(placed, -1)

    def attach(self, placed: PlacedPod) -> None:
        placed.group = self.groups.add(placed.group.key, placed.row)
        self._use(placed, 1)

    def suppose(self, pod: Obj, row: int) -> PlacedPod:
        """Put a pod there for a moment (a nominated one); :meth:`detach` takes it away."""
        placed = PlacedPod(pod, row, self.groups.add(self._group_of(pod), row))
        self._use(placed, 1)
        return placed

    def _group_of(self, pod: Obj) -> GroupKey:
        """The pod's group; the terms it brings make selectors look at more labels."""
        key = self.groups.group_of(pod)
        if not key.terms:
            return key
        self.watch_labels(term.selector for term in key.terms.all())
        return self.groups.group_of(pod)

    def _is_same(self, known: PlacedPod, pod: Obj, node_name: str) -> bool:
        """The pod counts exactly as before: most updates only touch its status."""
        if self.nodes.names[known.row] != node_name:
            return False
        old, new = known.obj["metadata"], pod["metadata"]
        if old.get("labels") != new.get("labels"):
            return False
        if ("deletionTimestamp" in old) != ("deletionTimestamp" in new):
            return False
        return requests_of(pod) == known.requests

    def _use(self, placed: PlacedPod, sign: int) -> None:
        nodes, row, requests = self.nodes, placed.row, placed.requests
        resources = nodes.resources
        resources["cpu"].requested.cells[row] += sign * requests.cpu
        resources["memory"].requested.cells[row] += sign * requests.memory
        if requests.ephemeral_storage:
            column = resources["ephemeral-storage"].requested
            column.cells[row] += sign * requests.ephemeral_storage
        for name, amount in requests.scalars:
            nodes.resource(name).requested.cells[row] += sign * amount
        nodes.nonzero_cpu.cells[row] += sign * requests.nonzero_cpu
        nodes.nonzero_memory.cells[row] += sign * requests.nonzero_memory
        nodes.pod_count.cells[row] += sign
        if placed.ports:
            self._use_ports(placed, sign)
        if placed.claims or placed.has_disks:
            self._use_storage(placed, sign)
        nodes.usage.append(row)

    def _use_ports(self, placed: PlacedPod, sign: int) -> None:
        used = self.ports.setdefault(placed.row, [])
        for port in placed.ports:
            if sign > 0:
                used.append(port)
            else:
                used.remove(port)
        if not used:
            del self.ports[placed.row]

    def _use_storage(self, placed: PlacedPod, sign: int) -> None:
        there = self.storage_pods.setdefault(placed.row, {})
        if sign > 0:
            there[placed.uid] = placed
        else:
            del there[placed.uid]
        if not there:
            del self.storage_pods[placed.row]
        namespace = placed.obj["metadata"].get("namespace", "")
        for name in placed.claims:
            key = f"{namespace}/{name}"
            users = self.claim_users[key] = self.claim_users.get(key, 0) + sign
            if not users:
                del self.claim_users[key]

    def _release_if_empty(self, row: int) -> None:
        if not self.nodes.alive.cells[row] and row not in self.on_row:
            self.nodes.release(row)


def start_time(pod: Obj) -> str:
    """RFC 3339 sorts as text; a pod that has not started is the latest."""
    return (pod.get("status") or {}).get("startTime") or LATER_THAN_ALL
