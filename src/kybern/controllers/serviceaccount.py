"""Service accounts: every active namespace has one called ``default``."""

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import NAMESPACES, SERVICE_ACCOUNTS
from kybern.controllers.controller import Context, Controller

ACCOUNT = "default"


class ServiceAccountController(Controller):
    """Keyed by namespace name."""

    name = "serviceaccount-controller"
    account = "service-account-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.watch(NAMESPACES)
        self.accounts = self.watch(SERVICE_ACCOUNTS, _namespace_of_default)

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return
        if self.accounts.get(f"{key}/{ACCOUNT}") is not None:
            return
        account = {"metadata": {"name": ACCOUNT, "namespace": key}}
        try:
            await self.client.create(SERVICE_ACCOUNTS, account)
        except StatusError as error:
            if error.reason not in ("AlreadyExists", "NotFound"):
                raise


def _namespace_of_default(obj: Obj) -> tuple[str, ...]:
    meta = obj["metadata"]
    return (meta["namespace"],) if meta["name"] == ACCOUNT else ()
