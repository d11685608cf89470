"""Huge pages of containers and of volumes, on a real containerd and a machine that has some."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab

Obj = dict[str, Any]
PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
WANTED = 4

pytestmark = [
    needs_containerd,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not PAGES.exists(), reason="the kernel has no huge pages of 2 MiB"),
]


@pytest.fixture(scope="module")
def pages() -> Iterator[None]:
    """Some pages for the time of the tests."""
    before = PAGES.read_text()
    PAGES.write_text(str(WANTED))
    try:
        if int(PAGES.read_text()) < WANTED:
            pytest.skip("the machine has no memory in one piece for huge pages")
        yield
    finally:
        PAGES.write_text(before)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(pages: None) -> AsyncIterator[Lab]:
    async with open_lab() as opened:
        yield opened


def container(name: str = "main", **limits: str) -> Obj:
    amounts = {"memory": "32Mi", **{key.replace("_", "-"): v for key, v in limits.items()}}
    mounts = [{"name": "pages", "mountPath": "/pages"}]
    resources = {"requests": amounts, "limits": amounts}
    return shell(STAY, name, resources=resources, volumeMounts=mounts)


def volume(medium: str) -> list[Obj]:
    return [{"name": "pages", "emptyDir": {"medium": medium}}]


@pytest.mark.parametrize("medium", ["HugePages", "HugePages-2Mi"])
async def test_a_volume_is_in_huge_pages(lab: Lab, medium: str) -> None:
    pod = lab.run(lab.pod(container(hugepages_2Mi="4Mi"), volumes=volume(medium)))
    await lab.until_ready(pod)
    mounts = (await lab.exec(pod, "cat", "/proc/mounts")).splitlines()
    (line,) = (words for words in map(str.split, mounts) if words[1] == "/pages")
    assert line[2] == "hugetlbfs"
    assert "pagesize=2M" in line[3].split(",")
    await lab.gone(pod)
    assert str(lab.directory) not in "".join(
        line for line in Path("/proc/mounts").read_text().splitlines() if "hugetlbfs" in line
    )


async def test_a_volume_whose_pages_nobody_asked_for_is_told_of(lab: Lab) -> None:
    pod = lab.run(lab.pod(container(), volumes=volume("HugePages-2Mi")))
    name = pod["metadata"]["name"]
    await until(lambda: lab.events.messages(name, "FailedMount"), "an event")
    assert lab.events.messages(name, "FailedMount")[0].endswith(
        "medium HugePages-2Mi: hugePages storage requested, but there is no resource request for "
        "huge pages"
    )
    await lab.gone(pod)


async def test_containers_have_the_huge_pages_of_their_limits(lab: Lab) -> None:
    if not lab.parts.cgroups.unified:
        pytest.skip("a container sees its limit of huge pages on cgroup v2 only")
    with_pages, without = container("with", hugepages_2Mi="4Mi"), container("without")
    pod = lab.run(lab.pod(with_pages, without, volumes=volume("HugePages")))
    await lab.until_ready(pod)
    for name, limit in (("with", 4 * 1024 * 1024), ("without", 0)):
        held = await lab.exec(pod, "cat", "/sys/fs/cgroup/hugetlb.2MB.max", name=name)
        assert int(held) == limit
    await lab.gone(pod)
