"""How failed pulls are told."""

import pytest

from kybern.kubelet.images.failures import PullFailed
from kybern.rpc.client import RpcError

UNKNOWN = RpcError("UNKNOWN", "failed to pull")
DENIED = RpcError("PERMISSION_DENIED", "no")
AWAY = RpcError("UNKNOWN", "RegistryUnavailable: dial tcp")
UNSIGNED = RpcError("UNKNOWN", "SignatureValidationFailed")


@pytest.mark.parametrize(
    ("refusals", "expected"),
    [
        ([UNKNOWN], ("ErrImagePull", "failed to pull")),
        ([DENIED], ("ErrImagePull", "rpc error: code = PermissionDenied desc = no")),
        ([UNKNOWN, UNKNOWN], ("ErrImagePull", "failed to pull")),
        (
            [UNKNOWN, DENIED],
            (
                "ErrImagePull",
                "[failed to pull, rpc error: code = PermissionDenied desc = no]",
            ),
        ),
        (
            [AWAY],
            (
                "RegistryUnavailable",
                "image pull failed for a:1 because the registry is unavailable: dial tcp",
            ),
        ),
        (
            [UNSIGNED],
            (
                "SignatureValidationFailed",
                "image pull failed for a:1 because the signature validation failed",
            ),
        ),
    ],
)
def test_a_failed_pull_is_told_by_its_cause(
    refusals: list[RpcError], expected: tuple[str, str]
) -> None:
    assert PullFailed(refusals).waiting("a:1") == expected
