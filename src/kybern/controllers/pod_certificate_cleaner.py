"""Deletes PodCertificateRequests that are older than any issuing takes.

Runs where the API server serves them, which takes ``--runtime-config`` and the feature gate of
that name. A node whose request nobody answered makes another one.
"""

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import POD_CERTIFICATE_REQUESTS
from kybern.controllers.controller import Context, Controller

PATIENCE_SECONDS = 900.0


class PodCertificateCleaner(Controller):
    name = "podcertificaterequest-cleaner-controller"
    account = "podcertificaterequestcleaner"
    needs = POD_CERTIFICATE_REQUESTS
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.requests = self.watch(POD_CERTIFICATE_REQUESTS)

    async def reconcile(self, key: str) -> float | None:
        request = self.requests.get(key)
        if request is None:
            return None
        created = objects.epoch(objects.meta(request)["creationTimestamp"])
        left = created + PATIENCE_SECONDS - self.clock.time()
        if left > 0:
            return left
        name, namespace = objects.name(request), objects.namespace(request)
        try:
            await self.client.delete(
                POD_CERTIFICATE_REQUESTS, name, namespace, uid=objects.uid(request)
            )
        except StatusError as error:
            if error.code != 404:
                raise
        return None
