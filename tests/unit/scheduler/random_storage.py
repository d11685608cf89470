"""Random claims, volumes and classes for random clusters."""

import random
from typing import Any

from reference_world import HOST, ZONE, World

Obj = dict[str, Any]

DRIVER = "disk.example.com"
CLAIMS = 5
SIZES = ("1Gi", "5Gi", "10Gi")
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"


def add_storage(rng: random.Random, world: World) -> None:
    """Classes, volumes, claims of every namespace, and how many volumes nodes attach."""
    for name, mode, provisioner in (
        ("late", "WaitForFirstConsumer", DRIVER),
        ("local", "WaitForFirstConsumer", "kubernetes.io/no-provisioner"),
        ("now", "Immediate", DRIVER),
    ):
        found: Obj = {"metadata": {"name": name, "uid": f"class-{name}"}}
        found |= {"provisioner": provisioner, "volumeBindingMode": mode}
        if rng.random() < 0.5:
            expression = {"key": ZONE, "values": [f"z{rng.randrange(3)}"]}
            found["allowedTopologies"] = [{"matchLabelExpressions": [expression]}]
        world.classes[name] = found
    for number in range(6):
        volume = make_volume(rng, f"v{number}")
        world.volumes[volume["metadata"]["name"]] = volume
    for space in world.namespaces:
        for number in range(CLAIMS):
            claim = make_claim(rng, space, f"c{number}")
            world.claims[f"{space}/c{number}"] = claim
    for name in world.nodes:
        if rng.random() < 0.4:
            driver = {"name": DRIVER, "allocatable": {"count": rng.randrange(1, 4)}}
            meta = {"name": name, "uid": f"csi-{name}"}
            world.csi_nodes[name] = {"metadata": meta, "spec": {"drivers": [driver]}}


def make_volume(rng: random.Random, name: str) -> Obj:
    meta: Obj = {"name": name, "uid": f"volume-{name}", "labels": {}}
    if rng.random() < 0.3:
        zones = "__".join(f"z{rng.randrange(3)}" for _ in range(2))
        meta["labels"][rng.choice([ZONE, OLD_ZONE])] = zones
    if rng.random() < 0.5:
        meta["labels"]["speed"] = rng.choice(["fast", "slow"])
    spec: Obj = {
        "capacity": {"storage": rng.choice(SIZES)},
        "accessModes": rng.choice([["ReadWriteOnce"], ["ReadWriteOnce", "ReadWriteMany"]]),
        "storageClassName": rng.choice(["late", "local"]),
    }
    if rng.random() < 0.5:
        key, value = rng.choice([(HOST, f"n{rng.randrange(4)}"), (ZONE, f"z{rng.randrange(3)}")])
        expression = {"key": key, "operator": "In", "values": [value]}
        spec["nodeAffinity"] = {
            "required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        }
    if rng.random() < 0.6:
        spec["csi"] = {"driver": DRIVER, "volumeHandle": name}
    if rng.random() < 0.2:
        space, claim = rng.choice(["red", "blue"]), f"c{rng.randrange(CLAIMS)}"
        spec["claimRef"] = {"namespace": space, "name": claim}
    phase = rng.choice(["Available", "Available", "Available", "Released"])
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


def make_claim(rng: random.Random, space: str, name: str) -> Obj:
    meta: Obj = {"name": name, "namespace": space, "uid": f"claim-{space}-{name}"}
    spec: Obj = {
        "resources": {"requests": {"storage": rng.choice(SIZES)}},
        "accessModes": [
            rng.choice(["ReadWriteOnce", "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"])
        ],
        "storageClassName": rng.choice(["late", "late", "local", "local", "now"]),
    }
    status: Obj = {"phase": "Pending"}
    kind = rng.random()
    if kind < 0.5:
        meta["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
        spec["volumeName"] = f"v{rng.randrange(7 if kind < 0.05 else 6)}"
        status = {"phase": "Lost" if kind < 0.02 else "Bound"}
    elif kind < 0.6:
        node = f"n{rng.randrange(3)}"
        meta["annotations"] = {"volume.kubernetes.io/selected-node": node}
    elif kind < 0.7:
        spec["selector"] = {"matchLabels": {"speed": "fast"}}
    elif kind < 0.72:
        meta["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    return {"metadata": meta, "spec": spec, "status": status}


def pod_volumes(rng: random.Random) -> list[Obj]:
    """Claims, a disk that the pod names itself, seldom a claim to be made for it; often nothing."""
    result: list[Obj] = []
    if rng.random() < 0.2:
        for number in rng.sample(range(CLAIMS), rng.choice([1, 1, 2])):
            source = {"claimName": f"c{number}"}
            result.append({"name": f"v{number}", "persistentVolumeClaim": source})
    if rng.random() < 0.07:
        disk: Obj = {"pdName": rng.choice("xy")}
        if rng.random() < 0.5:
            disk["readOnly"] = True
        result.append({"name": "disk", "gcePersistentDisk": disk})
    if rng.random() < 0.01:
        result.append({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}})
    if rng.random() < 0.01:
        result.append({"name": "gone", "persistentVolumeClaim": {"claimName": "missing"}})
    return result
