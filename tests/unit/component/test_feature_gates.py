"""Which settings of feature gates are taken, and what the rest is told."""

import pytest

from kybern.component.feature_gates import FeatureGates, known_gates, switches_help

SWITCHABLE = ("ClusterTrustBundle", "PodCertificateRequest")


def test_gates_have_their_defaults_unless_they_are_set() -> None:
    gates = FeatureGates(["ClusterTrustBundle=true", "kube:WatchList=true"], SWITCHABLE)
    assert gates.enabled("ClusterTrustBundle")
    assert not gates.enabled("PodCertificateRequest")
    assert gates.enabled("WatchList")


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("NoSuchGate=true", "unrecognized feature gate: NoSuchGate"),
        ("ClusterTrustBundle", "missing bool value for ClusterTrustBundle"),
        (
            "ClusterTrustBundle=yes",
            "invalid value of ClusterTrustBundle=yes, err: "
            'strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            "APIServerTracing=false",
            "cannot set feature gate APIServerTracing to false, feature is locked to true",
        ),
        ("GenericWorkload=true", "in another state: GenericWorkload=true"),
        ("WatchList=false", "in another state: WatchList=false"),
        ("AllBeta=false", "in another state: "),
    ],
)
def test_what_cannot_be_is_refused(setting: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".*") as refused:
        FeatureGates([setting], SWITCHABLE)
    assert text in str(refused.value)


def test_a_gate_asks_for_those_that_it_rests_on() -> None:
    both = ("ClusterTrustBundle", "ClusterTrustBundleProjection")
    with pytest.raises(
        ValueError, match=r"depends on features .* disabled: \[ClusterTrustBundle\]"
    ):
        FeatureGates(["ClusterTrustBundleProjection=true"], both)
    gates = FeatureGates([f"{name}=true" for name in both], both)
    assert gates.enabled("ClusterTrustBundleProjection")


def test_all_gates_of_a_stage_are_those_that_are_not_set_themselves() -> None:
    beta_and_off = [g.name for g in known_gates().values() if g.stage == "BETA" and not g.default]
    gates = FeatureGates(["AllBeta=true", "PodCertificateRequest=false"], beta_and_off)
    assert gates.enabled("ClusterTrustBundle")
    assert not gates.enabled("PodCertificateRequest")
    assert not gates.enabled("AllAlpha")


def test_metrics_tell_every_gate() -> None:
    lines = list(FeatureGates(["ClusterTrustBundle=true"], SWITCHABLE).exposition())
    assert 'kubernetes_feature_enabled{name="ClusterTrustBundle",stage="BETA"} 1' in lines
    assert 'kubernetes_feature_enabled{name="PodCertificateRequest",stage="BETA"} 0' in lines
    assert 'kubernetes_feature_enabled{name="APIServerTracing",stage=""} 1' in lines
    assert len(lines) == len(known_gates()) + 2


def test_help_names_what_can_be_switched() -> None:
    assert "PodCertificateRequest=true|false (BETA - default=false)" in switches_help(SWITCHABLE)
