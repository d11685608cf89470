"""What may be written about a pod's resource claims into its status."""

from typing import Any

import pytest

from kybern.api.validation.pod_claim_statuses import claim_statuses

Obj = dict[str, Any]
GPU = "example.com/gpu"
SPEC: Obj = {
    "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}],
    "containers": [{"name": "c", "resources": {"requests": {GPU: "1"}}}],
}
MAPPING = {"containerName": "c", "resourceName": GPU, "requestName": "container-0-request-0"}
CLAIM = {"name": "gpu", "resourceClaimName": "web-gpu-x"}


def extended(*mappings: Obj, name: str = "web-x") -> Obj:
    held = {"requestMappings": list(mappings), "resourceClaimName": name}
    return {"extendedResourceClaimStatus": held}


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ({}, []),
        ({"resourceClaimStatuses": [CLAIM]}, []),
        ({"resourceClaimStatuses": [{"name": "gpu"}]}, []),
        (
            {"resourceClaimStatuses": [CLAIM, CLAIM, {"name": "other", "resourceClaimName": "_"}]},
            ["[1].name", "[2].name", "[2].resourceClaimName"],
        ),
        (extended(MAPPING), []),
        (extended(), ["requestMappings"]),
        (extended(MAPPING, name=""), ["resourceClaimName"]),
        (extended({**MAPPING, "containerName": "d"}), ["requestMappings[0].containerName"]),
        (extended({**MAPPING, "resourceName": "cpu"}), ["requestMappings[0].resourceName"]),
        (extended({**MAPPING, "requestName": "A"}), ["requestName"]),
        (
            extended(MAPPING, MAPPING),
            [f"requestMappings[1].{name}" for name in MAPPING],
        ),
    ],
)
def test_statuses_fit_the_pod(status: Obj, fields: list[str]) -> None:
    found = [error.field for error in claim_statuses(status, SPEC)]
    assert len(found) == len(fields)
    assert all(path.endswith(end) for path, end in zip(found, fields, strict=True)), found
