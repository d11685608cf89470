"""Manifests become what they would be in the cluster: workloads become pods.

``Expansion.add`` puts the objects into the snapshot's objects and collects the pods that are to be
placed. A workload that exists and keeps its template gets only the pods that it is short of; one
whose template changes gets all of them anew, and those that it has go. Claims are made for
StatefulSets and ephemeral volumes; where a class has a provisioner, claims are taken to be
provisioned wherever the pod goes.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from kybern.api import objects
from kybern.api.kinds import builtin_registry
from kybern.api.resources import NODES, PODS, PRIORITY_CLASSES
from kybern.cluster.questions.claims import make_claim, provisioned_anywhere
from kybern.cluster.questions.cluster_snapshot import ClusterObjects
from kybern.controllers.daemon_placement import daemon_spec, fit, pod_for
from kybern.controllers.replicas import pod_from_template
from kybern.controllers.stateful_identity import claim_name, identify, mount_claims, start

Obj = dict[str, Any]

MOST_PODS = 20_000


class ManifestError(ValueError):
    """A manifest that cannot be expanded; the text says which and why."""


class Expansion:
    """Pods to be placed, and what else the manifests bring. ``notes`` are for the reader."""

    def __init__(self, cluster: ClusterObjects, namespace: str) -> None:
        self.cluster = cluster
        self.pods: list[Obj] = []
        self.replaced: list[Obj] = []
        self.notes: list[str] = []
        self._namespace = namespace
        self._registry = builtin_registry()
        self._numbers = itertools.count(1)
        self._expand: dict[str, Callable[[Obj], None]] = {
            "Pod": self._pod,
            "Deployment": self._deployment,
            "ReplicaSet": self._replicas,
            "ReplicationController": self._replicas,
            "StatefulSet": self._stateful_set,
            "DaemonSet": self._daemon_set,
            "Job": self._job,
            "CronJob": self._cron_job,
        }

    def add(self, manifests: Iterable[Obj]) -> None:
        """Read all, in the order in which they rest on each other."""
        defaulted = [self._defaulted(one) for one in manifests]
        for one in sorted(defaulted, key=self._turn):
            expand = self._expand.get(one["kind"])
            if expand is not None:
                expand(one)
            if one["kind"] == "PersistentVolumeClaim":
                one = provisioned_anywhere(self.cluster, one)
            if one["kind"] != "Pod":
                self.cluster.put(one)

    def _turn(self, obj: Obj) -> int:
        """Classes before what names them, workloads last."""
        if obj["kind"] in self._expand:
            return 2
        return 1 if obj["kind"] == "PersistentVolumeClaim" else 0

    def run_daemons_on(self, nodes: Iterable[Obj]) -> None:
        """The pods that the DaemonSets of the cluster start on new nodes."""
        for daemon_set in self.cluster.by_kind.get("DaemonSet", ()):
            self._daemons(daemon_set, nodes)

    def new_pod(self, pod: Obj) -> Obj:
        """Complete a pod as the API server would, and have it placed."""
        if len(self.pods) >= MOST_PODS:
            raise ManifestError(f"the manifests ask for more than {MOST_PODS} pods")
        pod = objects.copy(pod)
        pod["metadata"]["uid"] = self._uid()
        self._default(pod)
        self._set_priority(pod["spec"])
        self._make_ephemeral_claims(pod)
        self.pods.append(pod)
        return pod

    def _defaulted(self, manifest: Obj) -> Obj:
        obj = objects.copy(manifest)
        meta = obj.setdefault("metadata", {})
        kind = self._kind(obj)
        if kind is None:
            self.notes.append(f"{obj['kind']} {meta.get('name')}: does not matter to scheduling")
        if kind is None or kind.namespaced:
            meta.setdefault("namespace", self._namespace)
        if not meta.get("name"):
            meta["name"] = meta.get("generateName") or "unnamed"
        meta["uid"] = self._uid()
        self._default(obj)
        return obj

    def _kind(self, obj: Obj) -> Any:
        group, _, version = obj.get("apiVersion", "").rpartition("/")
        served = self._registry.by_kind(group, version, obj["kind"])
        return served.kind if served is not None else None

    def _default(self, obj: Obj) -> None:
        kind = self._kind(obj)
        if kind is None:
            return
        try:
            kind.strategy.default(obj)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            name = obj["metadata"].get("name")
            raise ManifestError(f"{obj['kind']} {name} is not well formed ({error!r})") from error

    def _uid(self) -> str:
        return f"whatif-{next(self._numbers)}"

    def _set_priority(self, spec: Obj) -> None:
        """What admission resolves; an unknown class is left to the API server to refuse."""
        name = spec.get("priorityClassName")
        for known in self.cluster.of(PRIORITY_CLASSES):
            if known["metadata"]["name"] == name or (not name and known.get("globalDefault")):
                spec["priority"] = known["value"]
                policy = known.get("preemptionPolicy") or "PreemptLowerPriority"
                spec.setdefault("preemptionPolicy", policy)

    def _pod(self, pod: Obj) -> None:
        meta = pod["metadata"]
        if self.cluster.find("Pod", meta["namespace"], meta["name"]) is not None:
            self.notes.append(f"Pod {meta['namespace']}/{meta['name']} is there already")
            return
        self.new_pod(pod)

    def _deployment(self, deployment: Obj) -> None:
        """Its pods belong to a ReplicaSet, which default spreading looks at."""
        meta, spec = deployment["metadata"], deployment["spec"]
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{meta['name']}-whatif",
                "namespace": meta["namespace"],
                "uid": self._uid(),
                "ownerReferences": [objects.controller_reference(deployment)],
            },
            "spec": {"selector": spec.get("selector"), "template": spec["template"]},
        }
        self.cluster.put(replica_set)
        live = self.cluster.find("Deployment", meta["namespace"], meta["name"])
        uids = [live["metadata"]["uid"]] if live is not None else []
        sets = [one for one in self.cluster.by_kind.get("ReplicaSet", ()) if _owner(one) in uids]
        uids = [one["metadata"]["uid"] for one in sets]
        self._fill(deployment, live, replica_set, self._owned(uids), spec["template"])

    def _replicas(self, owner: Obj) -> None:
        meta = owner["metadata"]
        live = self.cluster.find(owner["kind"], meta["namespace"], meta["name"])
        held = self._owned([live["metadata"]["uid"]]) if live is not None else []
        self._fill(owner, live, owner, held, owner["spec"]["template"])

    def _fill(
        self, workload: Obj, live: Obj | None, owner: Obj, held: list[Obj], template: Obj
    ) -> None:
        """Up to the wanted number, from those that stay."""
        wanted: int = workload["spec"].get("replicas", 1)
        stays = live is not None and _covers(template, live["spec"]["template"])
        kept = held[:wanted] if stays else []
        self._replace([pod for pod in held if pod not in kept])
        name = workload["metadata"]["name"]
        for number in range(len(kept) + 1, wanted + 1):
            self._from_template(owner, template, f"{name}-{number}")

    def _stateful_set(self, stateful_set: Obj) -> None:
        meta, spec = stateful_set["metadata"], stateful_set["spec"]
        live = self.cluster.find("StatefulSet", meta["namespace"], meta["name"])
        stays = live is not None and _covers(spec["template"], live["spec"]["template"])
        held = self._owned([live["metadata"]["uid"]]) if live is not None else []
        first = start(stateful_set)
        names = [f"{meta['name']}-{first + n}" for n in range(spec.get("replicas", 1))]
        kept = {objects.name(pod) for pod in held if stays and objects.name(pod) in names}
        self._replace([pod for pod in held if objects.name(pod) not in kept])
        for name in names:
            if name in kept:
                continue
            pod = objects.copy(pod_from_template(stateful_set, spec["template"]))
            del pod["metadata"]["generateName"]
            pod["metadata"]["name"] = name
            identify(stateful_set, pod)
            mount_claims(stateful_set, pod)
            for template in spec.get("volumeClaimTemplates") or ():
                name, namespace = claim_name(template, pod), meta["namespace"]
                make_claim(self.cluster, name, namespace, template["spec"], self._uid(), [])
            self.new_pod(pod)

    def _daemon_set(self, daemon_set: Obj) -> None:
        meta = daemon_set["metadata"]
        live = self.cluster.find("DaemonSet", meta["namespace"], meta["name"])
        held = self._owned([live["metadata"]["uid"]]) if live is not None else []
        template = daemon_set["spec"]["template"]
        if live is not None and _covers(template, live["spec"]["template"]):
            has_one = {pod["spec"].get("nodeName") for pod in held}
        else:
            has_one = set()
            self._replace(held)
        nodes = [one for one in self.cluster.of(NODES) if objects.name(one) not in has_one]
        self._daemons(daemon_set, nodes)

    def _daemons(self, daemon_set: Obj, nodes: Iterable[Obj]) -> None:
        spec = daemon_spec(daemon_set)
        for node in nodes:
            if fit(daemon_set, spec, node)[0]:
                name = objects.name(node)
                pod = pod_for(daemon_set, spec, name, "")
                pod["metadata"]["name"] = f"{objects.name(daemon_set)}-{name}"
                self.new_pod(pod)

    def _job(self, job: Obj) -> None:
        meta, spec = job["metadata"], job["spec"]
        if self.cluster.find("Job", meta["namespace"], meta["name"]) is not None:
            self.notes.append(f"Job {meta['namespace']}/{meta['name']} is there already")
            return
        wanted = spec.get("parallelism", 1)
        if spec.get("completions") is not None:
            wanted = min(wanted, spec["completions"])
        for number in range(0 if spec.get("suspend") else wanted):
            self._from_template(job, spec["template"], f"{meta['name']}-{number}")

    def _cron_job(self, cron_job: Obj) -> None:
        meta = cron_job["metadata"]
        self.notes.append(f"CronJob {meta['namespace']}/{meta['name']}: as if its time had come")
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {**meta, "uid": self._uid()},
            "spec": cron_job["spec"]["jobTemplate"]["spec"],
        }
        self._job(job)

    def _from_template(self, owner: Obj, template: Obj, name: str) -> None:
        pod = objects.copy(pod_from_template(owner, template))
        del pod["metadata"]["generateName"]
        pod["metadata"]["name"] = name
        self.new_pod(pod)

    def _owned(self, uids: list[str]) -> list[Obj]:
        pods = self.cluster.of(PODS)
        return [pod for pod in pods if _owner(pod) in uids and not objects.is_pod_terminal(pod)]

    def _replace(self, pods: list[Obj]) -> None:
        gone = {pod["metadata"]["uid"] for pod in pods}
        self.replaced += pods
        there = self.cluster.of(PODS)
        there[:] = [pod for pod in there if pod["metadata"]["uid"] not in gone]

    def _make_ephemeral_claims(self, pod: Obj) -> None:
        meta = pod["metadata"]
        owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        for volume in pod["spec"].get("volumes") or ():
            if "ephemeral" in volume:
                name = f"{meta['name']}-{volume['name']}"
                spec = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
                owners = [{**owner, "controller": True}]
                make_claim(self.cluster, name, meta["namespace"], spec, self._uid(), owners)


def _owner(obj: Obj) -> str:
    controller = objects.controller_of(obj)
    return controller["uid"] if controller is not None else ""


def _covers(wanted: Any, live: Any) -> bool:
    """Whether what a manifest says holds already; what it leaves out does not count."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_covers(v, live.get(k)) for k, v in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(live, list) and len(wanted) == len(live)
        return same_length and all(map(_covers, wanted, live))
    return bool(wanted == live)


def pending_pods(cluster: ClusterObjects) -> list[Obj]:
    """The pods of the cluster that wait for a node, the oldest first."""
    waiting = [
        pod
        for pod in cluster.of(PODS)
        if not pod["spec"].get("nodeName")
        and not objects.is_pod_terminal(pod)
        and not objects.is_deleting(pod)
    ]
    return sorted(waiting, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
