"""Takes tokens out of circulation that were made for service accounts and that nobody uses.

A token in a Secret that its account lists, that no pod mounts and that was not used for a year is
marked invalid; a year later it is deleted. Tokens that people made themselves are left alone.
"""

from datetime import date, timedelta

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.pod_references import pod_secrets
from kybern.api.resources import CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS
from kybern.component.clock import rfc3339
from kybern.controllers.controller import Context, Controller
from kybern.controllers.serviceaccount_token import ACCOUNT_NAME, ACCOUNT_UID, SECRET_TYPE

TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_DAY = 86400.0


class LegacyTokenCleaner(Controller):
    """Keyed by Secret; each is looked at when it changes, and once a day."""

    name = "legacy-serviceaccount-token-cleaner-controller"
    account = "legacy-service-account-token-cleaner"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.watch(SECRETS, _token_secret)
        self.accounts = self.read(SERVICE_ACCOUNTS)
        self.pods = self.read(PODS)
        self.period = context.config.legacy_service_account_token_clean_up_period

    async def reconcile(self, key: str) -> float | None:
        secret = self.secrets.get(key)
        if secret is None or not _token_secret(secret):
            return None
        now = self.clock.time()
        limit = rfc3339(now - self.period)[:10]
        idle = await self._tracked_since(limit) and self._idle(secret, limit)
        if not idle or not self._generated(secret) or self._mounted(secret):
            return _DAY
        name, namespace = objects.name(secret), objects.namespace(secret)
        invalid_since = objects.labels(secret).get(INVALID_SINCE, "")
        if not _is_date(invalid_since):
            labels = {INVALID_SINCE: rfc3339(now)[:10]}
            patch = {"metadata": {"uid": objects.uid(secret), "labels": labels}}
            await self.client.patch(SECRETS, name, patch, namespace)
        elif invalid_since < limit:
            version = objects.resource_version(secret)
            await self._delete(name, namespace, version)
        return _DAY

    async def _tracked_since(self, limit: str) -> bool:
        """Whether uses have been noted for the whole period."""
        try:
            tracking = await self.client.get(CONFIG_MAPS, TRACKING, "kube-system")
        except StatusError as error:
            if error.code == 404:
                return False
            raise
        since = (tracking.get("data") or {}).get("since", "")
        # Uses are noted reliably from the day after the noting began.
        first_day = date.fromisoformat(since) + timedelta(days=1) if _is_date(since) else date.max
        return first_day <= date.fromisoformat(limit)

    def _idle(self, secret: Obj, limit: str) -> bool:
        created = objects.meta(secret)["creationTimestamp"]
        used = objects.labels(secret).get(LAST_USED)
        if objects.is_deleting(secret) or objects.epoch(created) >= self.clock.time() - self.period:
            return False
        return used is None or (_is_date(used) and used < limit)

    def _generated(self, secret: Obj) -> bool:
        """Whether the token was made for its account, and not by somebody for themselves."""
        annotations = objects.annotations(secret)
        account = self.accounts.get(
            f"{objects.namespace(secret)}/{annotations.get(ACCOUNT_NAME, '')}"
        )
        uid = annotations.get(ACCOUNT_UID)
        if account is None or (uid and uid != objects.uid(account)):
            return False
        listed = account.get("secrets") or []
        return any(found.get("name") == objects.name(secret) for found in listed)

    def _mounted(self, secret: Obj) -> bool:
        pods = self.pods.list(objects.namespace(secret))
        return any(objects.name(secret) in pod_secrets(pod) for pod in pods)

    async def _delete(self, name: str, namespace: str, version: str) -> None:
        try:
            await self.client.delete(SECRETS, name, namespace, resource_version=version)
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _token_secret(secret: Obj) -> tuple[str, ...]:
    return (objects.key(secret),) if secret.get("type") == SECRET_TYPE else ()


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
