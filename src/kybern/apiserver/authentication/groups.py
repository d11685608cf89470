"""The names of service accounts as users, and the groups that they are in."""

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
ALL_SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"


def service_account_name(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return (ALL_SERVICE_ACCOUNTS_GROUP, f"{ALL_SERVICE_ACCOUNTS_GROUP}:{namespace}")


def split_service_account(user_name: str) -> tuple[str, str] | None:
    """Namespace and name of the service account that a user is; None for other users."""
    if not user_name.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, colon, name = user_name[len(SERVICE_ACCOUNT_PREFIX) :].partition(":")
    if not colon or not namespace or not name or ":" in name:
        return None
    return namespace, name
