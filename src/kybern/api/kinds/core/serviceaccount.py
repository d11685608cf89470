"""ServiceAccount."""

from kybern.api.kinds.kind import CREATE_ONLY, Kind, Subresource

SERVICE_ACCOUNT = Kind(
    group="",
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=(
        Subresource("token", "TokenRequest", CREATE_ONLY, "authentication.k8s.io", "v1"),
    ),
)
