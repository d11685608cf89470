"""Who may use an image that the kubelet has pulled, and what of that outlives the kubelet."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from kybern.component.clock import Clock
from kybern.kubelet.images.credentials import Credentials, Login, PullAccount, PullSecret
from kybern.kubelet.images.records import MAX_SECRETS, Find, PullRecords
from kybern.kubelet.images.verification import ALLOWLISTED, ALWAYS, NEVER, PRELOADED, make_policy

IMAGE = "registry.example/app:1"
ID = "sha256:1"


def records(directory: Path, policy: str = PRELOADED, *allowlist: str) -> PullRecords:
    return PullRecords(directory, Clock(), make_policy(policy, allowlist))


def user(name: str, password: str = "p", uid: str = "1") -> Credentials:
    return Credentials(Login("u", password), PullSecret("ns", name, uid, {}))


def account(name: str, password: str, uid: str = "1") -> Credentials:
    return Credentials(Login("u", password), PullAccount("ns", name, uid))


def having(*known: Credentials) -> Find:
    async def find() -> Sequence[Credentials]:
        return known

    return find


async def pulled(directory: Path, used: Credentials | None, image: str = IMAGE) -> None:
    kept = records(directory)
    await kept.begin(image)
    await kept.finish(image, ID, used)


async def test_an_image_that_somebody_put_there_is_for_everybody(tmp_path: Path) -> None:
    assert await records(tmp_path).may_use(IMAGE, ID, having())


async def test_an_image_pulled_without_secret_is_for_everybody(tmp_path: Path) -> None:
    await pulled(tmp_path, None)
    assert await records(tmp_path).may_use(IMAGE, ID, having())
    assert not await records(tmp_path).may_use("registry.example/other:1", ID, having())


async def test_an_image_pulled_with_a_secret_is_for_those_who_have_it(tmp_path: Path) -> None:
    await pulled(tmp_path, user("mine"))
    kept = records(tmp_path)
    assert not await kept.may_use(IMAGE, ID, having())
    assert not await kept.may_use(IMAGE, ID, having(user("other", "q")))
    assert not await kept.may_use(IMAGE, ID, having(user("mine", "q", uid="2")))
    assert await kept.may_use("registry.example/app:2", ID, having(user("mine")))


async def test_an_image_pulled_with_the_nodes_own_login_is_for_everybody(tmp_path: Path) -> None:
    await pulled(tmp_path, user("mine"))
    await pulled(tmp_path, Credentials(Login("node", "p")))
    assert await records(tmp_path).may_use(IMAGE, ID, having())


async def test_an_image_pulled_for_a_service_account_is_for_its_pods(tmp_path: Path) -> None:
    await pulled(tmp_path, account("builder", "p"))
    kept = records(tmp_path)
    assert await kept.may_use(IMAGE, ID, having(account("builder", "another")))
    assert not await kept.may_use(IMAGE, ID, having(account("builder", "p", uid="2")))
    assert not await kept.may_use(IMAGE, ID, having(user("mine", "p")))
    await pulled(tmp_path, user("mine"))
    assert await kept.may_use(IMAGE, ID, having(account("builder", "p")))
    assert await kept.may_use(IMAGE, ID, having(user("mine")))


async def test_credentials_are_looked_for_only_where_they_matter(tmp_path: Path) -> None:
    async def find() -> Sequence[Credentials]:
        raise AssertionError("nobody needs them")

    assert await records(tmp_path).may_use(IMAGE, ID, find)
    await pulled(tmp_path, user("mine"))
    assert not await records(tmp_path).may_use("registry.example/other:1", ID, find)
    await pulled(tmp_path, None)
    assert await records(tmp_path).may_use(IMAGE, ID, find)


async def test_what_was_found_to_be_the_same_stays_the_same(tmp_path: Path) -> None:
    await pulled(tmp_path, user("mine"))
    kept = records(tmp_path)
    assert await kept.may_use(IMAGE, ID, having(user("copy")))
    assert await kept.may_use(IMAGE, ID, having(user("mine", "changed")))
    assert await kept.may_use(IMAGE, ID, having(user("another", "changed")))


async def test_a_later_pull_without_secret_opens_the_image(tmp_path: Path) -> None:
    await pulled(tmp_path, user("mine"))
    await pulled(tmp_path, None)
    await pulled(tmp_path, user("mine"))
    assert await records(tmp_path).may_use(IMAGE, ID, having())


async def test_a_pull_that_was_cut_off_was_nobodys(tmp_path: Path) -> None:
    await records(tmp_path).begin(IMAGE)
    again = records(tmp_path)
    assert again.interrupted
    assert not await again.may_use(IMAGE, ID, having(user("mine")))
    await again.settle([SimpleNamespace(id=ID, repo_tags=[IMAGE], repo_digests=[])])
    # Whether the next try succeeds or not, the image does not become everybody's.
    await again.begin(IMAGE)
    await again.fail(IMAGE)
    assert not await again.may_use(IMAGE, ID, having(user("mine")))
    assert not records(tmp_path).interrupted


async def test_a_pull_that_nobody_waits_for_may_have_succeeded(tmp_path: Path) -> None:
    kept = records(tmp_path)
    await kept.begin(IMAGE)
    kept.abandon(IMAGE)
    assert kept.interrupted
    assert not await kept.may_use(IMAGE, ID, having())
    await kept.settle([SimpleNamespace(id=ID, repo_tags=[IMAGE], repo_digests=[])])
    await kept.begin(IMAGE)
    await kept.fail(IMAGE)
    assert not kept.interrupted
    assert not await kept.may_use(IMAGE, ID, having())


async def test_one_failed_pull_leaves_the_other_of_the_same_image_under_way(tmp_path: Path) -> None:
    kept = records(tmp_path)
    await kept.begin(IMAGE)
    await kept.begin(IMAGE)
    await kept.fail(IMAGE)
    assert not await kept.may_use(IMAGE, ID, having())
    await kept.fail(IMAGE)
    assert await kept.may_use(IMAGE, ID, having())


async def test_a_record_that_cannot_be_read_opens_nothing(tmp_path: Path) -> None:
    await pulled(tmp_path, None)
    (file,) = (tmp_path / "pulled").iterdir()
    file.write_bytes(b"{")
    assert not await records(tmp_path).may_use(IMAGE, ID, having())


async def test_records_of_images_that_are_gone_go(tmp_path: Path) -> None:
    await pulled(tmp_path, user("mine"))
    kept, now = records(tmp_path), Clock().time()
    await kept.keep_only([ID], now + 60)
    await kept.keep_only([], now - 60)
    assert not await kept.may_use(IMAGE, ID, having())
    await kept.keep_only([], now + 60)
    assert await kept.may_use(IMAGE, ID, having())


async def test_many_secrets_do_not_make_a_record_grow_for_ever(tmp_path: Path) -> None:
    await pulled(tmp_path, user("first"))
    for number in range(MAX_SECRETS + 5):
        assert await records(tmp_path).may_use(IMAGE, ID, having(user(f"copy-{number}")))
    (file,) = (tmp_path / "pulled").iterdir()
    (granted,) = orjson.loads(file.read_bytes())["credentialMapping"].values()
    assert len(granted["kubernetesSecrets"]) == MAX_SECRETS


@pytest.mark.parametrize(
    ("policy", "preloaded", "mine"),
    [(NEVER, True, True), (PRELOADED, True, False), (ALWAYS, False, False)],
)
async def test_the_policy_decides_what_is_checked(
    tmp_path: Path, policy: str, preloaded: bool, mine: bool
) -> None:
    assert await records(tmp_path, policy).may_use(IMAGE, ID, having()) == preloaded
    await pulled(tmp_path, user("mine"))
    assert await records(tmp_path, policy).may_use(IMAGE, ID, having()) == mine


async def test_listed_images_are_for_everybody(tmp_path: Path) -> None:
    kept = records(tmp_path, ALLOWLISTED, "registry.example/base/*", "docker.io/busybox")
    for image, expected in {
        "registry.example/base/a/b:1": True,
        "registry.example/base:1": False,
        "docker.io/busybox:1": True,
        "docker.io/busybox2:1": False,
    }.items():
        assert await kept.may_use(image, ID, having()) == expected


@pytest.mark.parametrize("text", ["a*", "/*", "", " a", "a:1", "a/*/b"])
def test_lists_that_have_no_meaning_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid image pattern"):
        make_policy(ALLOWLISTED, [text])
    with pytest.raises(ValueError, match="can't set"):
        make_policy(PRELOADED, [text])
