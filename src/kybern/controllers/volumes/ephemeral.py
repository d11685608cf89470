"""Makes the claims of generic ephemeral volumes: one for each, owned by its pod.

The claim goes with the pod through the garbage collector. A claim of the name that somebody else
made is never taken: that would give the pod another one's data.
"""

from kybern.api import objects, volumes
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS, PODS
from kybern.controllers.controller import Context, Controller


class EphemeralVolumeController(Controller):
    """Keyed by pod."""

    name = "ephemeral-volume-controller"
    account = "ephemeral-volume-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch(PODS, _with_ephemeral_volumes)
        self.pods.add_index("claim", volumes.claim_keys)
        self.claims = self.watch(PERSISTENT_VOLUME_CLAIMS, self._users)
        self.recorder = context.recorder(self.client, "ephemeral_volume")

    def _users(self, claim: Obj) -> list[str]:
        return [objects.key(pod) for pod in self.pods.by_index("claim", objects.key(claim))]

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None or objects.is_deleting(pod):
            return
        for volume in pod["spec"].get("volumes") or ():
            if "ephemeral" not in volume:
                continue
            try:
                await self._ensure(pod, volume)
            except StatusError as error:
                text = f"ephemeral volume {volume['name']}: {error.message}"
                self.recorder.event(pod, "Warning", "FailedBinding", text)
                raise

    async def _ensure(self, pod: Obj, volume: Obj) -> None:
        name = volumes.ephemeral_claim_name(pod, volume)
        namespace = objects.namespace(pod)
        claim = self.claims.get(f"{namespace}/{name}")
        if claim is not None:
            if not objects.is_controlled_by(claim, pod):
                where = f"{namespace}/{objects.name(pod)}"
                text = f"PVC {namespace}/{name} was not created for pod {where} (pod is not owner)"
                raise StatusError(409, "Conflict", text)
            return
        template = volume["ephemeral"]["volumeClaimTemplate"]
        metadata = {
            **{k: v for k, v in (template.get("metadata") or {}).items() if k != "name"},
            "name": name,
            "ownerReferences": [objects.controller_reference(pod)],
        }
        made = await self._create({"metadata": metadata, "spec": template["spec"]}, namespace)
        await self.claims.reached(objects.resource_version(made))

    async def _create(self, claim: Obj, namespace: str) -> Obj:
        try:
            return await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim, namespace)
        except StatusError as error:
            name = claim["metadata"]["name"]
            text = f"create PVC {name}: {error.message}"
            raise StatusError(error.code, error.reason, text) from error


def _with_ephemeral_volumes(pod: Obj) -> list[str]:
    found = pod["spec"].get("volumes") or ()
    return [objects.key(pod)] if any("ephemeral" in volume for volume in found) else []
