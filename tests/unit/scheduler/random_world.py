"""Random clusters and pods from a seed: small, crowded with the cases that plugins argue over."""

import random
from typing import Any

from reference import World

Obj = dict[str, Any]

APPS = ("web", "db", "cache")
KEYS = ("kubernetes.io/hostname", "zone", "rack")
NAMESPACES = {"red": {"team": "a"}, "blue": {"team": "b"}, "green": {"team": "a"}}


def make_node(rng: random.Random, name: str) -> Obj:
    labels = {"kubernetes.io/hostname": name}
    if rng.random() < 0.85:
        labels["zone"] = f"z{rng.randrange(3)}"
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
    }
    if rng.random() < 0.3:
        allocatable["example.com/gpu"] = str(rng.randrange(1, 4))
    spec: Obj = {"taints": taints} if taints else {}
    if rng.random() < 0.1:
        spec["unschedulable"] = True
    sizes = {"small": 10, "middle": 300, "large": 900}
    images = [
        {"names": [f"{image}:latest"], "sizeBytes": size * 1024 * 1024}
        for image, size in sizes.items()
        if rng.random() < 0.3
    ]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": allocatable, "images": images},
    }


def make_pod(rng: random.Random, number: int) -> Obj:
    app = rng.choice(APPS)
    spec: Obj = {"containers": [_container(rng, i) for i in range(rng.choice([1, 1, 2]))]}
    spec["priority"] = rng.choice([0, 0, 0, 10])
    if rng.random() < 0.2:
        inits = [_container(rng, 10 + i) for i in range(2)]
        if rng.random() < 0.5:
            inits[0]["restartPolicy"] = "Always"
        spec["initContainers"] = inits
    if rng.random() < 0.3:
        spec["tolerations"] = [_toleration(rng) for _ in range(rng.choice([1, 2]))]
    if rng.random() < 0.15:
        spec["nodeSelector"] = {"zone": f"z{rng.randrange(3)}"}
    affinity = _affinity(rng)
    if affinity:
        spec["affinity"] = affinity
    if rng.random() < 0.3:
        spec["topologySpreadConstraints"] = [_spread(rng) for _ in range(rng.choice([1, 2]))]
    labels = {"app": app, "unique": str(number)}
    meta = {
        "name": f"p{number}",
        "namespace": rng.choice(list(NAMESPACES)),
        "uid": f"u{number}",
        "labels": labels,
    }
    return {"metadata": meta, "spec": spec}


def _container(rng: random.Random, number: int) -> Obj:
    requests = {}
    if rng.random() < 0.7:
        requests["cpu"] = rng.choice(["100m", "250m", "1"])
    if rng.random() < 0.7:
        requests["memory"] = rng.choice(["64Mi", "300Mi", "1Gi"])
    if rng.random() < 0.1:
        requests["example.com/gpu"] = "1"
    image = rng.choice(["small", "middle", "large", "elsewhere"])
    container: Obj = {"name": f"c{number}", "image": image, "resources": {"requests": requests}}
    if rng.random() < 0.1:
        port: Obj = {"containerPort": 80, "hostPort": rng.choice([80, 81])}
        if rng.random() < 0.5:
            port["hostIP"] = rng.choice(["10.0.0.1", "10.0.0.2"])
        container["ports"] = [port]
    return container


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
        affinity["nodeAffinity"] = node = {}
        if rng.random() < 0.5:
            terms = [{"matchExpressions": [_expression(rng)]} for _ in range(rng.choice([1, 2]))]
            node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
        node["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {
                "weight": rng.randrange(1, 100),
                "preference": {"matchExpressions": [_expression(rng)]},
            }
        ]
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


def _expression(rng: random.Random) -> Obj:
    operator = rng.choice(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])
    if operator in ("Gt", "Lt"):
        return {"key": "rack", "operator": operator, "values": [str(rng.randrange(4))]}
    expression: Obj = {"key": "zone", "operator": operator}
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
    return term


def _spread(rng: random.Random) -> Obj:
    constraint: Obj = {
        "topologyKey": rng.choice(KEYS),
        "maxSkew": rng.randrange(1, 3),
        "whenUnsatisfiable": rng.choice(["DoNotSchedule", "ScheduleAnyway"]),
        "labelSelector": {"matchLabels": {"app": rng.choice(APPS)}},
    }
    if rng.random() < 0.2:
        constraint["minDomains"] = rng.randrange(1, 5)
    if rng.random() < 0.2:
        constraint["nodeTaintsPolicy"] = rng.choice(["Honor", "Ignore"])
    if rng.random() < 0.2:
        constraint["nodeAffinityPolicy"] = rng.choice(["Honor", "Ignore"])
    return constraint


def make_world(rng: random.Random, nodes: int) -> World:
    world = World()
    world.namespaces = dict(NAMESPACES)
    for number in range(nodes):
        node = make_node(rng, f"n{number}")
        world.nodes[node["metadata"]["name"]] = node
    return world
