"""The PersistentVolumeClaims of StatefulSets: made for each pod, kept or deleted by policy.

``persistentVolumeClaimRetentionPolicy`` works through owner references (KEP-1847): a claim that
goes with the set is owned by the set, one that goes with scaling down is owned by its pod once
that pod is condemned; the garbage collector does the rest. Claims with another controller, or left
over from an object of the same name, are not touched.
"""

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS
from kybern.client import Client, EventRecorder, Informer
from kybern.controllers.stateful_identity import claim_name, is_wanted, ordinal


class ClaimControl:
    """Creates claims and keeps their owners as the policy says."""

    def __init__(self, client: Client, recorder: EventRecorder, claims: Informer) -> None:
        self.client = client
        self.recorder = recorder
        self.claims = claims

    def _held(self, stateful_set: Obj, pod: Obj) -> list[tuple[Obj, Obj | None]]:
        """The set's claim templates, each with the pod's claim."""
        space = objects.namespace(stateful_set)
        return [
            (template, self.claims.get(f"{space}/{claim_name(template, pod)}"))
            for template in stateful_set["spec"].get("volumeClaimTemplates") or ()
        ]

    async def create_missing(self, stateful_set: Obj, pod: Obj) -> None:
        for template, held in self._held(stateful_set, pod):
            name = claim_name(template, pod)
            if held is not None:
                if objects.is_deleting(held):
                    raise StatusError(409, "Conflict", f"pvc {name} is being deleted")
                continue
            claim = _claim(stateful_set, template, name)
            about = f"Claim {name} Pod {objects.name(pod)} in StatefulSet"
            about = f"{about} {objects.name(stateful_set)}"
            try:
                made = await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim)
            except StatusError as error:
                if error.reason == "AlreadyExists":
                    continue
                text = f"Create {about} failed error: {error.message}"
                self.recorder.event(stateful_set, "Warning", "FailedCreate", text)
                raise
            self.recorder.event(
                stateful_set, "Normal", "SuccessfulCreate", f"Create {about} success"
            )
            await self.claims.reached(objects.resource_version(made))

    def match_policy(self, stateful_set: Obj, pod: Obj) -> bool:
        return all(
            held is None or _wanted_owners(stateful_set, pod, held) is None
            for _, held in self._held(stateful_set, pod)
        )

    def are_stale(self, stateful_set: Obj, pod: Obj) -> bool:
        """A claim still goes with an earlier pod of the name: it will be collected first."""
        if _policy(stateful_set)[1] == "Retain":
            return False
        return any(
            held is not None and _has_stale_owner(held, "v1", "Pod", pod)
            for _, held in self._held(stateful_set, pod)
        )

    async def apply_policy(self, stateful_set: Obj, pod: Obj) -> None:
        """Give the pod's claims the owners that the policy asks for."""
        for _, held in self._held(stateful_set, pod):
            owners = _wanted_owners(stateful_set, pod, held) if held is not None else None
            if held is None or owners is None:
                continue
            if _has_other_controller(stateful_set, pod, held):
                text = (
                    f"PersistentVolumeClaim {objects.name(held)} has a conflicting OwnerReference"
                    " that acts as a manging controller, the retention policy is ignored for this"
                    " claim"
                )
                self.recorder.event(stateful_set, "Warning", "ConflictingController", text)
            meta = {**held["metadata"], "ownerReferences": owners}
            written = await self.client.update(PERSISTENT_VOLUME_CLAIMS, {**held, "metadata": meta})
            await self.claims.reached(objects.resource_version(written))


def _claim(stateful_set: Obj, template: Obj, name: str) -> Obj:
    claim = objects.copy(template)
    labels = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
    meta = {field: value for field, value in claim["metadata"].items() if field != "name"}
    meta["labels"] = {**(meta.get("labels") or {}), **labels}
    claim["metadata"] = {**meta, "name": name, "namespace": objects.namespace(stateful_set)}
    claim.pop("status", None)
    return claim


def _policy(stateful_set: Obj) -> tuple[str, str]:
    """(whenDeleted, whenScaled)."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenDeleted", "Retain"), policy.get("whenScaled", "Retain")


def _wanted_owners(stateful_set: Obj, pod: Obj, claim: Obj) -> list[Obj] | None:
    """The claim's owner references as they should be; None if they are right."""
    if _has_stale_owner(claim, "apps/v1", "StatefulSet", stateful_set) or _has_stale_owner(
        claim, "v1", "Pod", pod
    ):
        return None
    held = objects.owner_references(claim)
    own = {objects.uid(stateful_set), objects.uid(pod)}
    others = [one for one in held if one["uid"] not in own]
    if _has_other_controller(stateful_set, pod, claim):
        return others if len(others) != len(held) else None
    wanted = _policy_owners(stateful_set, pod)
    present = [one for one in held if one["uid"] in own]
    right = {one["uid"] for one in present} == {objects.uid(one) for one in wanted} and all(
        one.get("controller") for one in present
    )
    return None if right else [*others, *map(objects.controller_reference, wanted)]


def _policy_owners(stateful_set: Obj, pod: Obj) -> list[Obj]:
    when_deleted, when_scaled = _policy(stateful_set)
    if when_scaled == "Delete" and not is_wanted(stateful_set, ordinal(pod)):
        return [pod]
    return [stateful_set] if when_deleted == "Delete" else []


def _has_stale_owner(claim: Obj, api_version: str, kind: str, owner: Obj) -> bool:
    """The claim refers to an earlier object of the owner's name."""
    identity = (api_version, kind, objects.name(owner))
    return any(
        (one["apiVersion"], one["kind"], one["name"]) == identity
        and one["uid"] != objects.uid(owner)
        for one in objects.owner_references(claim)
    )


def _has_other_controller(stateful_set: Obj, pod: Obj, claim: Obj) -> bool:
    if _policy(stateful_set) == ("Retain", "Retain"):
        return False
    own = {objects.uid(stateful_set), objects.uid(pod)}
    return any(
        one.get("controller") and one["uid"] not in own for one in objects.owner_references(claim)
    )
