"""Warnings about files of volumes that are in each other's way, as kube-apiserver gives them."""

import pytest

from kybern.api.errors import Obj
from kybern.api.validation.volume_path_warnings import volume_path_warnings


def items(*paths: str) -> list[Obj]:
    return [{"key": f"k{i}", "path": path} for i, path in enumerate(paths)]


PROJECTED: Obj = {
    "sources": [
        {"configMap": {"name": "c", "items": items("a", "q/w")}},
        {},
        {"secret": {"name": "s", "items": items("a/x", "q")}},
        {"serviceAccountToken": {"path": "q/w/e"}},
        {"clusterTrustBundle": {"name": "n", "path": "q/z"}},
        {"podCertificate": {"keyPath": "q/k", "certificateChainPath": "a/c/"}},
        {"clusterTrustBundle": {"signerName": "a.b/c", "path": "d/e"}},
        {"downwardAPI": {"items": items("d")}},
    ]
}
OVERLAP = "overlapping paths:"


@pytest.mark.parametrize(
    ("volume", "warnings"),
    [
        (
            {"configMap": {"name": "c", "items": items("a", "a/b", "a", "b")}},
            [
                f'(ConfigMap "c"): {OVERLAP} "a/b" with "a"',
                f'(ConfigMap "c"): {OVERLAP} "a" with "a"',
                f'(ConfigMap "c"): {OVERLAP} "a" with "a/b"',
            ],
        ),
        (
            {"secret": {"secretName": "s", "items": items("x/y", "x", "x/")}},
            [
                f'(Secret "s"): {OVERLAP} "x" with "x/y"',
                f'(Secret "s"): {OVERLAP} "x" with "x/y"',
                f'(Secret "s"): {OVERLAP} "x" with "x"',
            ],
        ),
        (
            {"downwardAPI": {"items": items("a", "a/b")}},
            [f'(DownwardAPI): {OVERLAP} "a/b" with "a"'],
        ),
        ({"configMap": {"name": "c", "items": items("a", "ab", "a-b")}}, []),
        ({"emptyDir": {}}, []),
        ({"projected": {}}, []),
        (
            {"projected": PROJECTED},
            [
                "(Projected) has no sources provided",
                f'(Projected): {OVERLAP} "a/x" (Secret "s") with "a" (ConfigMap "c")',
                f'(Projected): {OVERLAP} "q" (Secret "s") with "q/w" (ConfigMap "c")',
                f'(Projected): {OVERLAP} "q/w/e" (ServiceAccountToken) with "q/w" (ConfigMap "c")',
                f'(Projected): {OVERLAP} "q/w/e" (ServiceAccountToken) with "q" (Secret "s")',
                f'(Projected): {OVERLAP} "q/z" (ClusterTrustBundle "n") with "q" (Secret "s")',
                f'(Projected): {OVERLAP} "a/c" (PodCertificate chain) with "a" (ConfigMap "c")',
                f'(Projected): {OVERLAP} "q/k" (PodCertificate key) with "q" (Secret "s")',
                f'(Projected): {OVERLAP} "d" (DownwardAPI) with "d/e" (ClusterTrustBundle "a.b/c")',
            ],
        ),
    ],
)
def test_files_that_are_in_each_others_way(volume: Obj, warnings: list[str]) -> None:
    found = volume_path_warnings([{"name": "v", **volume}])
    assert found == [f'volume "v" {warning}' for warning in warnings]
