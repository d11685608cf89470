"""What gives a StatefulSet's pod its identity: ordinal, name, labels, revision and claims.

Pure functions for ``statefulset.py`` and ``stateful_claims.py``. A set that is rolling out holds
pods of two templates: the current one, which everyone had before, and the update.
"""

import re
from dataclasses import dataclass

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.controllers import revisions
from kybern.controllers.replicas import pod_from_template
from kybern.controllers.revisions import HASH_LABEL

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Versions:
    """The ControllerRevisions that the set comes from and goes to."""

    current: Obj
    update: Obj


def ordinal(pod: Obj) -> int:
    """The number at the end of the pod's name; -1 if it has none."""
    found = _NAME.match(objects.name(pod))
    return int(found[2]) if found else -1


def is_member(stateful_set: Obj, pod: Obj) -> bool:
    """The pod's name is one that this set gives."""
    found = _NAME.match(objects.name(pod))
    return found is not None and found[1] == objects.name(stateful_set)


def replicas(stateful_set: Obj) -> int:
    return int(stateful_set["spec"].get("replicas", 1))


def start(stateful_set: Obj) -> int:
    return int((stateful_set["spec"].get("ordinals") or {}).get("start", 0))


def is_wanted(stateful_set: Obj, number: int) -> bool:
    first = start(stateful_set)
    return first <= number < first + replicas(stateful_set)


def is_parallel(stateful_set: Obj) -> bool:
    return stateful_set["spec"].get("podManagementPolicy") == "Parallel"


def is_rolling(stateful_set: Obj) -> bool:
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    return strategy.get("type", "RollingUpdate") == "RollingUpdate"


def _rolling(stateful_set: Obj) -> Obj | None:
    rolling: Obj | None = (stateful_set["spec"].get("updateStrategy") or {}).get("rollingUpdate")
    return rolling


def partition(stateful_set: Obj) -> int:
    """How many of the lowest ordinals an update leaves alone."""
    return int((_rolling(stateful_set) or {}).get("partition", 0))


def revision_of(pod: Obj) -> str:
    return objects.labels(pod).get(HASH_LABEL, "")


def is_running_and_ready(pod: Obj) -> bool:
    return objects.pod_phase(pod) == "Running" and objects.is_pod_ready(pod)


def is_available(stateful_set: Obj, pod: Obj, now: float) -> bool:
    return objects.is_pod_available(pod, stateful_set["spec"].get("minReadySeconds", 0), now)


def claim_name(template: Obj, pod: Obj) -> str:
    return f"{objects.name(template)}-{objects.name(pod)}"


def new_pod(stateful_set: Obj, versions: Versions, number: int) -> Obj:
    """The pod for an ordinal, of the template that the ordinal should have now."""
    rolling = _rolling(stateful_set)
    if rolling is None:
        kept = int(objects.status(stateful_set).get("currentReplicas", 0))
    else:
        kept = partition(stateful_set)
    stays = is_rolling(stateful_set) and number < start(stateful_set) + kept
    revision = versions.current if stays else versions.update
    template = revisions.template_in(revision)
    pod = objects.copy(pod_from_template(stateful_set, template))
    del pod["metadata"]["generateName"]
    pod["metadata"]["name"] = f"{objects.name(stateful_set)}-{number}"
    pod["metadata"].setdefault("labels", {})[HASH_LABEL] = objects.name(revision)
    identify(stateful_set, pod)
    pod["spec"]["hostname"] = objects.name(pod)
    pod["spec"]["subdomain"] = stateful_set["spec"].get("serviceName", "")
    mount_claims(stateful_set, pod)
    return pod


def identify(stateful_set: Obj, pod: Obj) -> None:
    """Set the labels that name the pod."""
    labels = pod["metadata"].setdefault("labels", {})
    labels[NAME_LABEL] = objects.name(pod)
    labels[INDEX_LABEL] = str(ordinal(pod))


def mount_claims(stateful_set: Obj, pod: Obj) -> None:
    """The set's claims become the pod's volumes, in place of volumes of the same names."""
    templates = stateful_set["spec"].get("volumeClaimTemplates") or []
    if not templates:
        return
    claimed = {objects.name(one) for one in templates}
    volumes = [
        {"name": objects.name(one), "persistentVolumeClaim": {"claimName": claim_name(one, pod)}}
        for one in templates
    ]
    kept = [one for one in pod["spec"].get("volumes") or [] if one["name"] not in claimed]
    pod["spec"]["volumes"] = volumes + kept


def identity_matches(stateful_set: Obj, pod: Obj) -> bool:
    return is_member(stateful_set, pod) and objects.labels(pod).get(NAME_LABEL) == objects.name(pod)


def storage_matches(stateful_set: Obj, pod: Obj) -> bool:
    held = {
        one["name"]: (one.get("persistentVolumeClaim") or {}).get("claimName")
        for one in pod["spec"].get("volumes") or ()
    }
    return all(
        held.get(objects.name(one)) == claim_name(one, pod)
        for one in stateful_set["spec"].get("volumeClaimTemplates") or ()
    )
