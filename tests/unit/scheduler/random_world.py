"""Random clusters and pods from a seed: small, crowded with the cases that plugins argue over."""

import random
from typing import Any

import orjson
from random_storage import add_storage, pod_volumes
from reference_world import HOST, ZONE, World

from kybern.api.kinds.core.pod import POD

Obj = dict[str, Any]

APPS = ("web", "db", "cache")
KEYS = (HOST, ZONE, "rack")
NAMESPACES = {"red": {"team": "a"}, "blue": {"team": "b"}, "green": {"team": "a"}}
HUGE = "hugepages-2Mi"
GPU = "example.com/gpu"
OVERHEAD = {"cpu": "50m", "memory": "100Mi"}
OWNERS = {("ReplicaSet", "web-1"): "web", ("StatefulSet", "db"): "db"}


def make_node(rng: random.Random, name: str) -> Obj:
    labels = {HOST: name}
    if rng.random() < 0.85:
        labels[ZONE] = f"z{rng.randrange(3)}"
    if rng.random() < 0.7:
        labels["rack"] = str(rng.randrange(4))
    taints = []
    if rng.random() < 0.25:
        effect = rng.choice(["NoSchedule", "PreferNoSchedule", "NoExecute"])
        taints.append({"key": rng.choice("ab"), "value": rng.choice("xy"), "effect": effect})
    if rng.random() < 0.25:
        taints.append({"key": "soft", "effect": "PreferNoSchedule"})
    allocatable = {
        "cpu": str(rng.choice([2, 4, 8])),
        "memory": f"{rng.choice([2, 4, 16])}Gi",
        "pods": str(rng.choice([3, 8, 20])),
        "ephemeral-storage": f"{rng.choice([1, 10])}Gi",
    }
    if rng.random() < 0.3:
        allocatable[GPU] = str(rng.randrange(1, 4))
    if rng.random() < 0.2:
        allocatable[HUGE] = "64Mi"
    spec: Obj = {"taints": taints} if taints else {}
    if rng.random() < 0.1:
        spec["unschedulable"] = True
    sizes = {"small:latest": 10, "middle:latest": 300, "large:2": 900}
    images = [
        {"names": [image], "sizeBytes": size * 1024 * 1024}
        for image, size in sizes.items()
        if rng.random() < 0.3
    ]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": allocatable, "images": images},
    }


def make_pod(rng: random.Random, number: int) -> Obj:
    """A pod as a client writes it; ``stored`` is how the API server keeps it."""
    spec: Obj = {"containers": [_container(rng, i) for i in range(rng.choice([1, 1, 2]))]}
    spec["priority"] = rng.choice([0, 0, 0, 10])
    if rng.random() < 0.2:
        inits = [_container(rng, 10 + i) for i in range(2)]
        if rng.random() < 0.5:
            inits[0]["restartPolicy"] = "Always"
        spec["initContainers"] = inits
    if rng.random() < 0.1:
        spec |= {"runtimeClassName": "heavy", "overhead": OVERHEAD}
    if rng.random() < 0.1:
        spec["resources"] = {"requests": {"cpu": "3", "memory": "3Gi"}}
    if rng.random() < 0.3:
        spec["tolerations"] = [_toleration(rng) for _ in range(rng.choice([1, 2]))]
    if rng.random() < 0.15:
        spec["nodeSelector"] = {ZONE: f"z{rng.randrange(3)}"}
    if affinity := _affinity(rng):
        spec["affinity"] = affinity
    if rng.random() < 0.3:
        spec["topologySpreadConstraints"] = [_spread(rng) for _ in range(rng.choice([1, 2]))]
    meta: Obj = {
        "name": f"p{number}",
        "namespace": rng.choice(list(NAMESPACES)),
        "uid": f"u{number}",
        "labels": {"app": rng.choice(APPS), "unique": str(number)},
    }
    if rng.random() < 0.5:
        meta["labels"]["version"] = rng.choice("12")
    if rng.random() < 0.3:
        kind, name = rng.choice(list(OWNERS))
        owner = {"kind": kind, "name": name, "uid": f"{meta['namespace']}-{name}"}
        meta["ownerReferences"] = [{"apiVersion": "apps/v1", "controller": True, **owner}]
    if volumes := pod_volumes(rng):
        spec["volumes"] = volumes
    return {"metadata": meta, "spec": spec}


def stored(pod: Obj) -> Obj:
    """The pod as the API server hands it to a scheduler."""
    made = orjson.loads(orjson.dumps(pod))
    POD.strategy.prepare_for_create(made)
    return {**pod, "spec": made["spec"]}


def _container(rng: random.Random, number: int) -> Obj:
    requests = {}
    if rng.random() < 0.7:
        requests["cpu"] = rng.choice(["100m", "250m", "1"])
    if rng.random() < 0.7:
        requests["memory"] = rng.choice(["64Mi", "300Mi", "1Gi"])
    for name, amount in ((GPU, "1"), (HUGE, "32Mi"), ("ephemeral-storage", "400Mi")):
        if rng.random() < 0.07:
            requests[name] = amount
    image = rng.choice(["small", "middle", "large:2", "elsewhere"])
    resources = {"requests": requests}
    if fixed := {name: amount for name, amount in requests.items() if name in (GPU, HUGE)}:
        # These can be asked for only with a limit, and huge pages only beside cpu or memory.
        resources["limits"] = fixed
        requests.setdefault("cpu", "100m")
    container: Obj = {"name": f"c{number}", "image": image, "resources": resources}
    if rng.random() < 0.1:
        port: Obj = {"containerPort": 80, "hostPort": rng.choice([80, 81])}
        if rng.random() < 0.5:
            port["hostIP"] = rng.choice(["10.0.0.1", "10.0.0.2"])
        if rng.random() < 0.3:
            port["protocol"] = "UDP"
        container["ports"] = [port]
    return container


def resized(rng: random.Random, pod: Obj) -> Obj:
    """A placed pod whose containers, or which as a whole, have not what they ask for."""
    status: Obj = dict(pod.get("status") or {})
    entries = []
    for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())):
        entry: Obj = {"name": container["name"], "resources": {"requests": {}}}
        if rng.random() < 0.7:
            entry["resources"]["requests"]["cpu"] = rng.choice(["50m", "500m"])
        if rng.random() < 0.5:
            entry["allocatedResources"] = {"cpu": rng.choice(["200m", "700m"])}
        entries.append(entry)
    count = len(pod["spec"]["containers"])
    status["containerStatuses"], status["initContainerStatuses"] = entries[:count], entries[count:]
    if "resources" in pod["spec"] and rng.random() < 0.5:
        status["resources"] = {"requests": {"cpu": "4", "memory": "2Gi"}}
        status["allocatedResources"] = {"cpu": "2", "memory": "3500Mi"}
    if rng.random() < 0.5:
        reason = rng.choice(["Infeasible", "Deferred"])
        status["conditions"] = [{"type": "PodResizePending", "status": "True", "reason": reason}]
    return {**pod, "status": status}


def _toleration(rng: random.Random) -> Obj:
    if rng.random() < 0.3:
        return {"operator": "Exists"} if rng.random() < 0.5 else {"key": "a", "operator": "Exists"}
    toleration = {"key": rng.choice("ab"), "value": rng.choice("xy")}
    if rng.random() < 0.5:
        toleration["effect"] = rng.choice(["NoSchedule", "PreferNoSchedule"])
    return toleration


def _affinity(rng: random.Random) -> Obj:
    affinity: Obj = {}
    if rng.random() < 0.3:
        affinity["nodeAffinity"] = node_affinity(rng)
    for side in ("podAffinity", "podAntiAffinity"):
        if rng.random() < 0.2:
            affinity.setdefault(side, {})["requiredDuringSchedulingIgnoredDuringExecution"] = [
                _pod_term(rng) for _ in range(rng.choice([1, 1, 2]))
            ]
        if rng.random() < 0.2:
            affinity.setdefault(side, {})["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {"weight": rng.randrange(1, 100), "podAffinityTerm": _pod_term(rng)}
            ]
    return affinity


def node_affinity(rng: random.Random) -> Obj:
    """Terms that admit nodes, and terms that rank them."""
    result: Obj = {}
    if rng.random() < 0.5:
        terms: list[Obj] = [
            {"matchExpressions": [_expression(rng)]} for _ in range(rng.choice([1, 2]))
        ]
        for term in terms:
            if rng.random() < 0.15:
                values = [f"n{rng.randrange(4)}"]
                operator = rng.choice(["In", "In", "NotIn"])
                field = {"key": "metadata.name", "operator": operator, "values": values}
                term["matchFields"] = [field]
        result["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    result["preferredDuringSchedulingIgnoredDuringExecution"] = [
        {"weight": rng.randrange(1, 100), "preference": {"matchExpressions": [_expression(rng)]}}
    ]
    return result


def _expression(rng: random.Random) -> Obj:
    operator = rng.choice(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])
    if operator in ("Gt", "Lt"):
        return {"key": "rack", "operator": operator, "values": [str(rng.randrange(4))]}
    expression: Obj = {"key": ZONE, "operator": operator}
    if operator in ("In", "NotIn"):
        expression["values"] = [f"z{rng.randrange(3)}" for _ in range(rng.choice([1, 2]))]
    return expression


def _pod_term(rng: random.Random) -> Obj:
    term: Obj = {
        "topologyKey": rng.choice(KEYS),
        "labelSelector": {"matchLabels": {"app": rng.choice(APPS)}},
    }
    if rng.random() < 0.3:
        term["namespaces"] = [rng.choice(list(NAMESPACES))]
    if rng.random() < 0.3:
        term["namespaceSelector"] = rng.choice([{}, {"matchLabels": {"team": "a"}}])
    if rng.random() < 0.3:
        term[rng.choice(["matchLabelKeys", "mismatchLabelKeys"])] = ["version"]
    return term


def _spread(rng: random.Random) -> Obj:
    constraint: Obj = {
        "topologyKey": rng.choice(KEYS),
        "maxSkew": rng.randrange(1, 3),
        "whenUnsatisfiable": rng.choice(["DoNotSchedule", "ScheduleAnyway"]),
        "labelSelector": rng.choice([{}, *({"matchLabels": {"app": app}} for app in APPS)]),
    }
    if constraint["whenUnsatisfiable"] == "DoNotSchedule" and rng.random() < 0.3:
        constraint["minDomains"] = rng.randrange(1, 5)
    if rng.random() < 0.2:
        constraint["nodeTaintsPolicy"] = rng.choice(["Honor", "Ignore"])
    if rng.random() < 0.2:
        constraint["nodeAffinityPolicy"] = rng.choice(["Honor", "Ignore"])
    if rng.random() < 0.3:
        constraint["matchLabelKeys"] = ["version", "absent"]
    return constraint


def make_world(rng: random.Random, nodes: int) -> World:
    world = World()
    world.namespaces = dict(NAMESPACES)
    for number in range(nodes):
        node = make_node(rng, f"n{number}")
        world.nodes[node["metadata"]["name"]] = node
    for space in NAMESPACES:
        for (kind, name), app in OWNERS.items():
            meta = {"name": name, "namespace": space, "uid": f"{space}-{name}"}
            selector = {"matchLabels": {"app": app}}
            world.owners[meta["uid"]] = {
                "kind": kind,
                "metadata": meta,
                "spec": {"selector": selector},
            }
        meta = {"name": "front", "namespace": space}
        world.services.append({"metadata": meta, "spec": {"selector": {"app": rng.choice(APPS)}}})
    add_storage(rng, world)
    return world


def make_args(rng: random.Random) -> dict[str, Obj]:
    """Plugin arguments of a profile; often none."""
    args: dict[str, Obj] = {}
    if rng.random() < 0.5:
        return args
    resources = [{"name": "cpu", "weight": rng.randrange(1, 4)}, {"name": "memory", "weight": 2}]
    if rng.random() < 0.5:
        resources.append({"name": GPU, "weight": 5})
    strategy: Obj = {"resources": resources}
    strategy["type"] = rng.choice(["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"])
    if strategy["type"] == "RequestedToCapacityRatio":
        points = (
            [(0, 0), (30, 7), (70, 4), (100, 10)] if rng.random() < 0.5 else [(0, 10), (100, 0)]
        )
        shape = [{"utilization": at, "score": score} for at, score in points]
        strategy["requestedToCapacityRatio"] = {"shape": shape}
    args["NodeResourcesFit"] = {"scoringStrategy": strategy}
    if rng.random() < 0.3:
        args["NodeResourcesFit"]["ignoredResources"] = [GPU]
    args["NodeResourcesBalancedAllocation"] = {
        "resources": [{"name": r["name"]} for r in resources]
    }
    if rng.random() < 0.5:
        args["NodeAffinity"] = {"addedAffinity": node_affinity(rng)}
    args["InterPodAffinity"] = {
        "hardPodAffinityWeight": rng.choice([0, 1, 40]),
        "ignorePreferredTermsOfExistingPods": rng.random() < 0.5,
    }
    if rng.random() < 0.5:
        constraints = [_spread(rng) for _ in range(2)]
        for constraint in constraints:
            for name in ("labelSelector", "matchLabelKeys"):
                constraint.pop(name, None)
        args["PodTopologySpread"] = {"defaultingType": "List", "defaultConstraints": constraints}
    return args
