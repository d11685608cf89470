"""ServiceAccount."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import CREATE_ONLY, Kind, Subresource
from kybern.api.kinds.strategy import Strategy


def _only_names(account: Obj) -> None:
    """References to secrets keep their names; anything else in them has no meaning."""
    if account.get("secrets"):
        account["secrets"] = [{"name": s.get("name", "")} for s in account["secrets"]]


SERVICE_ACCOUNT = Kind(
    group="",
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=(
        Subresource("token", "TokenRequest", CREATE_ONLY, "authentication.k8s.io", "v1"),
    ),
    strategy=Strategy(
        metadata_checks=2, create=_only_names, update=lambda new, old: _only_names(new)
    ),
    columns=(NAME, AGE),
)
