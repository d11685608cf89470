"""``--runtime-config``: which versions and resources are served."""

import pytest

from kybern.api.kinds import builtin_registry, group_versions
from kybern.apiserver.api_enablement import SWITCHABLE_GATES, ApiEnablement
from kybern.component.feature_gates import FeatureGates

CERTIFICATES = "certificates.k8s.io/v1beta1"


def served(*settings: str, gates: tuple[str, ...] = ()) -> set[str]:
    """Every resource as ``group/version/plural``."""
    switched = FeatureGates([f"{gate}=true" for gate in gates], SWITCHABLE_GATES)
    enablement = ApiEnablement(settings, group_versions(), switched)
    registry = builtin_registry(enablement.serves)
    return {
        f"{entry.group}/{entry.version}/{kind.plural}"
        for kind in registry.kinds()
        for entry in registry.served(kind)
    }


def test_stable_versions_are_served_and_no_others() -> None:
    assert not [name for name in served() if "beta" in name or "alpha" in name]
    assert "autoscaling/v2/horizontalpodautoscalers" in served()


@pytest.mark.parametrize(
    ("settings", "added", "removed"),
    [
        (["api/beta=true"], "networking.k8s.io/v1beta1/ipaddresses", ""),
        (["api/alpha=true"], "resource.k8s.io/v1alpha3/devicetaintrules", ""),
        (["api/all=true"], "internal.apiserver.k8s.io/v1alpha1/storageversions", ""),
        (["storage.k8s.io/v1beta1"], "storage.k8s.io/v1beta1/volumeattributesclasses", ""),
        (["batch/v1=false"], "", "batch/v1/jobs"),
        (["batch/v1/cronjobs=false"], "", "batch/v1/cronjobs"),
        (["/v1/podtemplates=false"], "", "/v1/podtemplates"),
        (
            ["networking.k8s.io/v1beta1/servicecidrs=true"],
            "networking.k8s.io/v1beta1/servicecidrs",
            "networking.k8s.io/v1beta1/ipaddresses",
        ),
        (
            ["api/beta=true", "networking.k8s.io/v1beta1=false"],
            "resource.k8s.io/v1beta1/resourceslices",
            "networking.k8s.io/v1beta1/ipaddresses",
        ),
    ],
)
def test_versions_and_resources_are_switched(settings: list[str], added: str, removed: str) -> None:
    found = served(*settings)
    assert not added or added in found
    assert removed not in found


def test_some_kinds_ask_for_their_gate_as_well() -> None:
    bundles = f"{CERTIFICATES}/clustertrustbundles"
    assert bundles not in served(f"{CERTIFICATES}=true")
    assert bundles not in served(gates=("ClusterTrustBundle",))
    assert bundles in served(f"{CERTIFICATES}=true", gates=("ClusterTrustBundle",))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["api/all=false"], "invalid runtime-config with only api/all=false"),
        (["v1=true"], "runtime-config invalid key v1"),
        (["nothing/v1=true"], "unknown api groups nothing/v1"),
        (["batch/v9=true"], "group version batch/v9 that has not been registered"),
        (["api/beta=perhaps"], "invalid value api/beta=perhaps"),
        (
            ["batch/v1=perhaps"],
            "invalid value of batch/v1: perhaps, err: "
            'strconv.ParseBool: parsing "perhaps": invalid syntax',
        ),
        (
            ["batch/v1/Jobs=true"],
            "invalid key batch/v1/Jobs: group/version/resource and resource is always lowercase "
            'plural, not "Jobs"',
        ),
        (["rbac.authorization.k8s.io/v1=false"], "which this server itself works with"),
    ],
)
def test_broken_settings_are_refused(settings: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=r".*") as refused:
        served(*settings)
    assert text in str(refused.value)
