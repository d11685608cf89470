"""The plain reference: rules about claims, volumes, disks and how many a node attaches."""

from typing import Any

from reference_world import World, amount, expression_holds, labels, namespace, selects, term_holds

Obj = dict[str, Any]

MISPLACED = "node(s) didn't match PersistentVolume's node affinity"
UNMATCHED = "node(s) didn't find available persistent volumes to bind"
LOST = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
TODAY = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
ZONES = [*TODAY, *TODAY.values()]


def claims_of(world: World, pod: Obj) -> list[tuple[str, bool, Obj | None]]:
    """Name, whether it is made for the pod, and the claim if it is there."""
    result = []
    for volume in pod["spec"].get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            name, own = volume["persistentVolumeClaim"]["claimName"], False
        elif "ephemeral" in volume:
            name, own = f"{pod['metadata']['name']}-{volume['name']}", True
        else:
            continue
        result.append((name, own, world.claims.get(f"{namespace(pod)}/{name}")))
    return result


def found_claims(world: World, pod: Obj) -> list[Obj]:
    return [claim for _, _, claim in claims_of(world, pod) if claim is not None]


def is_bound(claim: Obj) -> bool:
    annotations = claim["metadata"].get("annotations") or {}
    return "volumeName" in claim["spec"] and "pv.kubernetes.io/bind-completed" in annotations


def is_delayed(world: World, claim: Obj) -> bool:
    found = world.classes.get(claim["spec"].get("storageClassName", ""), {})
    return bool(found.get("volumeBindingMode") == "WaitForFirstConsumer")


def rejection(world: World, pod: Obj) -> str | None:
    """Why no node will do: the first rule that says so, in the order in which they are asked."""
    claims = claims_of(world, pod)
    for name, own, claim in claims:
        if not own and claim is None:
            return f'persistentvolumeclaim "{name}" not found'
    for name, own, claim in claims:
        if claim is None:
            waits = "waiting for ephemeral volume controller to create the persistentvolumeclaim"
            return f'{waits} "{name}"'
        if (claim.get("status") or {}).get("phase") == "Lost":
            volume = claim["spec"]["volumeName"]
            lost = f'bound to non-existent persistentvolume "{volume}"'
            return f'persistentvolumeclaim "{name}" {lost}'
        if "deletionTimestamp" in claim["metadata"]:
            return f'persistentvolumeclaim "{name}" is being deleted'
        assert not own
    for _, _, claim in claims:
        assert claim is not None
        if not is_bound(claim) and ("volumeName" in claim["spec"] or not is_delayed(world, claim)):
            return "pod has unbound immediate PersistentVolumeClaims"
    for claim in found_claims(world, pod):
        volume = claim["spec"].get("volumeName")
        if volume is not None and volume not in world.volumes:
            return f'persistentvolume "{volume}" not found'
    return None


def restriction_reason(world: World, pod: Obj, name: str) -> str | None:
    """VolumeRestrictions: disks that cannot be shared, and claims of one pod at a time."""
    for other in world.on(name):
        for theirs in other["spec"].get("volumes") or []:
            for mine in pod["spec"].get("volumes") or []:
                one, two = mine.get("gcePersistentDisk"), theirs.get("gcePersistentDisk")
                same = one and two and one["pdName"] == two["pdName"]
                if same and not (one.get("readOnly") and two.get("readOnly")):
                    return "node(s) had no available disk"
    for claim in found_claims(world, pod):
        is_exclusive = "ReadWriteOncePod" in (claim["spec"].get("accessModes") or [])
        if is_exclusive and any(claim in found_claims(world, other) for other in world.pods):
            return (
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod "
                "access mode already in-use by another pod"
            )
    return None


def attached(world: World, pod: Obj) -> set[tuple[str, str]]:
    """The CSI volumes that the pod brings; a claim without a volume counts for its provisioner."""
    result = set()
    for claim in found_claims(world, pod):
        volume = world.volumes.get(claim["spec"].get("volumeName", ""))
        if volume is not None:
            if "csi" in volume["spec"]:
                csi = volume["spec"]["csi"]
                result.add((csi["driver"], csi["volumeHandle"]))
        else:
            found = world.classes.get(claim["spec"].get("storageClassName", ""), {})
            if found.get("provisioner"):
                key = f"{namespace(claim)}/{claim['metadata']['name']}"
                result.add((found["provisioner"], key))
    return result


def limit_reason(world: World, pod: Obj, name: str) -> str | None:
    """NodeVolumeLimits."""
    drivers = world.csi_nodes.get(name, {"spec": {}})["spec"].get("drivers") or []
    limits = {d["name"]: d["allocatable"]["count"] for d in drivers if "allocatable" in d}
    there = set().union(*(attached(world, other) for other in world.on(name)))
    brought = attached(world, pod) - there
    for driver in {driver for driver, _ in brought} & set(limits):
        held = sum(one == driver for one, _ in there | brought)
        if held > limits[driver]:
            return "node(s) exceed max volume count"
    return None


def zone_reason(world: World, pod: Obj, node: Obj) -> str | None:
    """VolumeZone: only nodes that have a zone or region at all are judged."""
    if not any(key in labels(node) for key in ZONES):
        return None
    for claim in found_claims(world, pod):
        volume = world.volumes.get(claim["spec"].get("volumeName", ""))
        for key in ZONES:
            if volume is None or key not in labels(volume):
                continue
            value = labels(node).get(key, labels(node).get(TODAY.get(key, "")))
            if value not in labels(volume)[key].split("__"):
                return "node(s) had no available volume zone"
    return None


def reaches(volume: Obj, node: Obj) -> bool:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or any(term_holds(t, node) for t in required["nodeSelectorTerms"])


def binding_reasons(world: World, pod: Obj, node: Obj) -> list[str]:
    """VolumeBinding on one node."""
    claims = found_claims(world, pod)
    result = []
    for claim in filter(is_bound, claims):
        volume = world.volumes.get(claim["spec"]["volumeName"])
        if volume is None:
            result.append(LOST)
            break
        if not reaches(volume, node):
            result.append(MISPLACED)
            break
    if not all_waiting_find(world, [c for c in claims if not is_bound(c)], node):
        result.append(UNMATCHED)
    return sorted(result, key=[MISPLACED, UNMATCHED, LOST].index)


def all_waiting_find(world: World, claims: list[Obj], node: Obj) -> bool:
    """Every claim gets a free volume on the node, the smallest first, or can be provisioned."""
    taken: list[str] = []
    ok = True
    for claim in sorted(claims, key=size):
        selected = (claim["metadata"].get("annotations") or {}).get(
            "volume.kubernetes.io/selected-node"
        )
        if selected is not None:
            ok = ok and selected == node["metadata"]["name"] and provisionable(world, claim, node)
            continue
        volume = best_volume(world, claim, node, taken)
        if volume is not None:
            taken.append(volume)
        else:
            ok = ok and provisionable(world, claim, node)
    return ok


def best_volume(world: World, claim: Obj, node: Obj, taken: list[str]) -> str | None:
    fitting = [v for v in world.volumes.values() if capacity(v) >= size(claim)]
    own = [v for v in fitting if promised_to(claim, v)]
    if not own:
        fitting = [v for v in fitting if is_free_for(claim, v)]
    for volume in own or sorted(fitting, key=capacity):
        name = str(volume["metadata"]["name"])
        if reaches(volume, node) and name not in taken:
            return name
    return None


def promised_to(claim: Obj, volume: Obj) -> bool:
    reference = volume["spec"].get("claimRef") or {}
    return (reference.get("namespace"), reference.get("name")) == (
        namespace(claim),
        claim["metadata"]["name"],
    )


def is_free_for(claim: Obj, volume: Obj) -> bool:
    return (
        "claimRef" not in volume["spec"]
        and volume["status"]["phase"] == "Available"
        and volume["spec"].get("storageClassName") == claim["spec"].get("storageClassName")
        and set(claim["spec"]["accessModes"]) <= set(volume["spec"]["accessModes"])
        and selects(claim["spec"].get("selector", {}), labels(volume))
    )


def provisionable(world: World, claim: Obj, node: Obj) -> bool:
    found = world.classes[claim["spec"]["storageClassName"]]
    if found["provisioner"] == "kubernetes.io/no-provisioner":
        return False
    topologies = found.get("allowedTopologies") or []
    return not topologies or any(
        all(
            expression_holds({**e, "operator": "In"}, labels(node).get(e["key"]))
            for e in topology["matchLabelExpressions"]
        )
        for topology in topologies
    )


def size(claim: Obj) -> int:
    return amount("storage", claim["spec"]["resources"]["requests"]["storage"])


def capacity(volume: Obj) -> int:
    return amount("storage", volume["spec"]["capacity"]["storage"])
