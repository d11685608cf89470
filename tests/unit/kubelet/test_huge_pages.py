"""What pods may use of huge pages, and the size of those that their volumes are made of."""

from pathlib import Path
from typing import Any

import pytest

from kybern.kubelet import huge_pages
from kybern.kubelet.node.machine import read_huge_pages

Obj = dict[str, Any]
KILO, MEGA, GIGA = 1024, 1024**2, 1024**3
SIZES = (64 * KILO, 2 * MEGA, GIGA)


def pod(*containers: Obj, **resources: Obj) -> Obj:
    return {"spec": {"containers": list(containers), "resources": resources}}


def asks(**amounts: str) -> Obj:
    found = {name.replace("_", "-"): amount for name, amount in amounts.items()}
    return {"requests": found, "limits": found}


def limits(made: Obj, container: Obj) -> list[tuple[str, int]]:
    return [(one.page_size, one.limit) for one in huge_pages.limits(made, container, SIZES)]


def test_what_has_no_limit_may_not_be_used() -> None:
    container = {"resources": asks(hugepages_2Mi="6Mi", memory="1Gi")}
    assert limits(pod(container), container) == [("64KB", 0), ("2MB", 6 * MEGA), ("1GB", 0)]
    assert limits(pod({}), {}) == [("64KB", 0), ("2MB", 0), ("1GB", 0)]


def test_a_container_s_limit_comes_before_the_pod_s() -> None:
    shared = asks(hugepages_2Mi="8Mi", hugepages_1Gi="1Gi")
    container = {"resources": asks(hugepages_2Mi="2Mi")}
    made = pod(container, {}, **shared)
    assert limits(made, container) == [("64KB", 0), ("2MB", 2 * MEGA), ("1GB", GIGA)]
    assert limits(made, {}) == [("64KB", 0), ("2MB", 8 * MEGA), ("1GB", GIGA)]


@pytest.mark.parametrize(
    ("medium", "asked", "size"),
    [
        ("HugePages", {"hugepages_2Mi": "2Mi"}, 2 * MEGA),
        ("HugePages-1Gi", {"hugepages_2Mi": "2Mi", "hugepages_1Gi": "1Gi"}, GIGA),
        ("HugePages-1024Mi", {"hugepages_1Gi": "1Gi"}, GIGA),
    ],
)
def test_a_volume_has_the_pages_that_its_pod_asks_for(medium: str, asked: Obj, size: int) -> None:
    assert huge_pages.page_size(pod({"resources": asks(**asked)}), medium) == size
    assert huge_pages.page_size(pod({}, **asks(**asked)), medium) == size


def test_a_volume_whose_pages_are_not_clear_is_refused() -> None:
    both = pod({"resources": asks(hugepages_2Mi="2Mi")}, {"resources": asks(hugepages_1Gi="1Gi")})
    with pytest.raises(ValueError, match="container requests multiple huge page sizes"):
        huge_pages.page_size(both, "HugePages")
    with pytest.raises(ValueError, match="medium HugePages-64Ki: hugePages storage requested"):
        huge_pages.page_size(both, "HugePages-64Ki")


def test_resources_are_named_by_the_size_of_a_page(tmp_path: Path) -> None:
    for size, count in ((2048, 3), (1048576, 0), (64, 1)):
        directory = tmp_path / f"hugepages-{size}kB"
        directory.mkdir()
        (directory / "nr_hugepages").write_text(f"{count}\n")
    found = read_huge_pages(tmp_path)
    assert found == {2 * MEGA: 3, GIGA: 0, 64 * KILO: 1}
    named = {
        huge_pages.resource_name(size): huge_pages.binary(size * found[size]) for size in found
    }
    assert named == {"hugepages-2Mi": "6Mi", "hugepages-1Gi": "0", "hugepages-64Ki": "64Ki"}
