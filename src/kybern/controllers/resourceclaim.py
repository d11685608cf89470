"""Makes resource claims from templates, and takes claims back from pods that are done.

Each entry of a pod's ``resourceClaims`` that names a template gets a claim of its own, named in the
pod's status. A claim whose last consumer is gone is deallocated, so that its devices serve others,
and deleted if it was made for that pod (KEP 4381).
"""

from collections.abc import Sequence
from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resource_claims import (
    FINALIZER,
    MAX_CONSUMERS,
    claims_in_use,
    extended_claim_name,
    is_allocated,
    is_reserved,
)
from kybern.api.resources import PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from kybern.controllers.controller import Context, Controller

MADE_FOR = "resource.kubernetes.io/pod-claim-name"
# What a generated name may be long before the server adds five characters.
MAX_BASE_LENGTH = 57


class ResourceClaimController(Controller):
    """Keyed by ``pod:namespace/name`` and ``claim:namespace/name``."""

    name = "resourceclaim-controller"
    account = "resource-claim-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch(PODS, _pod_keys)
        self.pods.add_index("resource claim", _claims_of)
        self.claims = self.watch(RESOURCE_CLAIMS, self._claim_keys)
        self.claims.add_index("owner", _owning_pod)
        self.templates = self.watch(RESOURCE_CLAIM_TEMPLATES, self._waiting_for)
        self.templates_wanted: dict[str, set[str]] = {}
        self.recorder = context.recorder(self.client, "resource_claim")

    def _claim_keys(self, claim: Obj) -> list[str]:
        users = self.pods.by_index("resource claim", objects.key(claim))
        return [f"claim:{objects.key(claim)}", *(f"pod:{objects.key(pod)}" for pod in users)]

    def _waiting_for(self, template: Obj) -> Sequence[str]:
        return sorted(self.templates_wanted.pop(objects.key(template), ()))

    async def reconcile(self, key: str) -> None:
        what, _, at = key.partition(":")
        if what == "pod":
            pod = self.pods.get(at)
            if pod is not None and not objects.is_deleting(pod):
                await self._serve(pod)
        elif (claim := self.claims.get(at)) is not None:
            await self._tidy(claim)

    async def _serve(self, pod: Obj) -> None:
        """Claims for all templates of the pod; reservations if somebody else bound it."""
        made: dict[str, str] = {}
        for entry in pod["spec"].get("resourceClaims") or ():
            if entry.get("resourceClaimTemplateName") is None:
                continue
            try:
                if name := await self._ensure(pod, entry):
                    made[entry["name"]] = name
            except StatusError as error:
                text = f"PodResourceClaim {entry['name']}: {error.message}"
                self.recorder.event(pod, "Warning", "FailedResourceClaimCreation", text)
                raise
        if made:
            statuses = [{"name": n, "resourceClaimName": claim} for n, claim in made.items()]
            patch = {"status": {"resourceClaimStatuses": statuses}}
            await self.client.patch(
                PODS,
                objects.name(pod),
                patch,
                objects.namespace(pod),
                kind="strategic",
                subresource="status",
            )
        if pod["spec"].get("nodeName") and not _is_done(pod):
            await self._reserve(pod)

    async def _ensure(self, pod: Obj, entry: Obj) -> str:
        """The name of the claim for a template, empty if the pod knows it already."""
        namespace = objects.namespace(pod)
        known = _status_of(pod, entry["name"])
        if known is not None:
            if "resourceClaimName" not in known:
                return ""
            claim = self.claims.get(f"{namespace}/{known['resourceClaimName']}")
            if claim is not None and objects.is_controlled_by(claim, pod):
                return ""
        for claim in self.claims.by_index("owner", objects.uid(pod)):
            if objects.annotations(claim).get(MADE_FOR) == entry["name"]:
                return objects.name(claim)
        template = self.templates.get(f"{namespace}/{entry['resourceClaimTemplateName']}")
        if template is None:
            name = entry["resourceClaimTemplateName"]
            waiting = self.templates_wanted.setdefault(f"{namespace}/{name}", set())
            waiting.add(f"pod:{objects.key(pod)}")
            text = f'resourceclaimtemplate.resource.k8s.io "{name}" not found'
            raise StatusError(404, "NotFound", f'resource claim template "{name}": {text}')
        made = await self.client.create(RESOURCE_CLAIMS, _claim(pod, entry, template), namespace)
        await self.claims.reached(objects.resource_version(made))
        return objects.name(made)

    async def _reserve(self, pod: Obj) -> None:
        """A pod that was bound past the scheduler still is a consumer of its claims."""
        for at in _claims_of(pod):
            claim = self.claims.get(at)
            if claim is None or not is_allocated(claim) or is_reserved(claim, objects.uid(pod)):
                continue
            consumers = claim["status"].get("reservedFor") or []
            if len(consumers) >= MAX_CONSUMERS:
                continue
            consumer = {"resource": "pods", "name": objects.name(pod), "uid": objects.uid(pod)}
            await self._write_status(claim, reservedFor=[*consumers, consumer])

    async def _tidy(self, claim: Obj) -> None:
        """Forget consumers that are gone, give back devices that nobody uses."""
        status = claim.get("status") or {}
        consumers = status.get("reservedFor") or []
        left = [each for each in consumers if await self._is_consumer(claim, each)]
        if len(left) < len(consumers):
            changes: dict[str, Any] = {"reservedFor": left}
            if not left and FINALIZER in objects.finalizers(claim):
                changes["allocation"] = None
            claim = await self._write_status(claim, **changes)
            await self._release(claim)
        elif objects.is_deleting(claim) and not left:
            if is_allocated(claim) and FINALIZER in objects.finalizers(claim):
                claim = await self._write_status(claim, allocation=None)
            await self._release(claim)
        if not left:
            await self._delete_if_unused(claim)

    async def _is_consumer(self, claim: Obj, consumer: Obj) -> bool:
        """Whether a pod in ``reservedFor`` still uses the claim; others than pods are let be."""
        if consumer.get("apiGroup") or consumer["resource"] != "pods":
            return True
        namespace = objects.namespace(claim)
        pod = self.pods.get(f"{namespace}/{consumer['name']}")
        if pod is None:
            # The informer may be behind the scheduler, who reserves for pods as they come.
            try:
                pod = await self.client.get(PODS, consumer["name"], namespace)
            except StatusError as error:
                if error.code != 404:
                    raise
                return False
        return objects.uid(pod) == consumer["uid"] and not _is_done(pod)

    async def _release(self, claim: Obj) -> None:
        """Without devices there is nothing for the finalizer to protect."""
        held = objects.finalizers(claim)
        if FINALIZER not in held or is_allocated(claim):
            return
        rest = [finalizer for finalizer in held if finalizer != FINALIZER]
        metadata = {**claim["metadata"], "finalizers": rest}
        await self.client.update(RESOURCE_CLAIMS, {**claim, "metadata": metadata})

    async def _delete_if_unused(self, claim: Obj) -> None:
        """A claim made for a pod that will not run again; the garbage collector sees to pods that
        are gone."""
        owner = objects.controller_of(claim)
        if owner is None or owner["kind"] != "Pod" or objects.is_deleting(claim):
            return
        pod = self.pods.get(f"{objects.namespace(claim)}/{owner['name']}")
        if pod is not None and (objects.uid(pod) != owner["uid"] or _is_done(pod)):
            name, namespace = objects.name(claim), objects.namespace(claim)
            await self.client.delete(RESOURCE_CLAIMS, name, namespace, uid=objects.uid(claim))

    async def _write_status(self, claim: Obj, **fields: Any) -> Obj:
        status = {**(claim.get("status") or {}), **fields}
        status = {name: value for name, value in status.items() if value is not None}
        return await self.client.update_status(RESOURCE_CLAIMS, {**claim, "status": status})


def _claim(pod: Obj, entry: Obj, template: Obj) -> Obj:
    """A claim from a template, owned by the pod and named after both."""
    base, suffix = objects.name(pod), entry["name"]
    length = len(base) + len(suffix) + 2
    if length > MAX_BASE_LENGTH:
        # Shorten both in proportion, so that each can still be told.
        base = base[: len(base) * MAX_BASE_LENGTH // length]
        suffix = suffix[: len(suffix) * MAX_BASE_LENGTH // length]
    given = template["spec"].get("metadata") or {}
    metadata = {
        "generateName": f"{base}-{suffix}-",
        "annotations": {**(given.get("annotations") or {}), MADE_FOR: entry["name"]},
        "labels": given.get("labels") or {},
        "ownerReferences": [objects.controller_reference(pod)],
    }
    return {"metadata": metadata, "spec": template["spec"]["spec"]}


def _pod_keys(pod: Obj) -> list[str]:
    """The pod if it has claims, and its claims when it may be done with them."""
    if not pod["spec"].get("resourceClaims") and not extended_claim_name(pod):
        return []
    return [f"pod:{objects.key(pod)}", *(f"claim:{at}" for at in _claims_of(pod))]


def _claims_of(pod: Obj) -> list[str]:
    """Keys of the claims that the pod names or was given."""
    return [f"{objects.namespace(pod)}/{name}" for name in claims_in_use(pod)]


def _status_of(pod: Obj, name: str) -> Obj | None:
    statuses = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    return next((status for status in statuses if status["name"] == name), None)


def _owning_pod(claim: Obj) -> list[str]:
    owner = objects.controller_of(claim)
    return [owner["uid"]] if owner is not None and owner["kind"] == "Pod" else []


def _is_done(pod: Obj) -> bool:
    """It will not run any more: it has ended, or goes before it had a node."""
    return objects.is_pod_terminal(pod) or (
        objects.is_deleting(pod) and not pod["spec"].get("nodeName")
    )
