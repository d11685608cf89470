"""Which ids pods with a user namespace of their own get."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from kubelet_pods import pod

from kybern.component.flags import BadFlag
from kybern.kubelet.config import Config
from kybern.kubelet.cri.client import cri
from kybern.kubelet.paths import Paths
from kybern.kubelet.user_namespaces import (
    UNIT,
    UserNamespaceError,
    UserNamespaces,
    make_user_namespaces,
    parse_subordinate_ids,
)

Obj = dict[str, Any]


class Runtime:
    """A runtime with these handlers, by whether they make user namespaces."""

    def __init__(self, handlers: dict[str, bool]) -> None:
        self._handlers = handlers

    async def status(self) -> Any:
        told = [
            SimpleNamespace(name=name, features=SimpleNamespace(user_namespaces=able))
            for name, able in self._handlers.items()
        ]
        return SimpleNamespace(runtime_handlers=told)


def namespaces(
    root: Path, *, blocks: int = 3, handlers: dict[str, bool] | None = None
) -> UserNamespaces:
    runtime: Any = Runtime({"": True} if handlers is None else handlers)
    made = UserNamespaces(Paths(root), runtime, UNIT, UNIT, blocks * UNIT, blocks)
    made.load()
    return made


def rootless(uid: str) -> Obj:
    made = pod(hostUsers=False)
    return {**made, "metadata": {**made["metadata"], "uid": uid}}


async def test_every_pod_has_ids_of_its_own_and_keeps_them(tmp_path: Path) -> None:
    first = namespaces(tmp_path)
    for uid in ("a", "b"):
        await first.prepare(rootless(uid), "")
    again = namespaces(tmp_path)
    for uid in ("b", "c"):
        await again.prepare(rootless(uid), "")
    given = [again.options(rootless(uid)) for uid in ("a", "b", "c")]
    assert [each.mode for each in given] == [cri.POD] * 3
    assert [each.uids[0].host_id for each in given] == [UNIT, 2 * UNIT, 3 * UNIT]
    assert (given[0].uids[0].length, given[0].uids[0].container_id) == (UNIT, 0)
    with pytest.raises(UserNamespaceError, match="could not find an empty slot"):
        await again.prepare(rootless("d"), "")
    again.release("a")
    await again.prepare(rootless("d"), "")
    assert again.options(rootless("d")).gids[0].host_id == UNIT


async def test_pods_of_the_nodes_users_hold_no_ids(tmp_path: Path) -> None:
    found = namespaces(tmp_path)
    for each in (pod(), pod(hostUsers=True)):
        await found.prepare(each, "")
        assert found.options(each).mode == cri.NODE
    assert not list(tmp_path.rglob("userns"))


@pytest.mark.parametrize(
    ("handlers", "handler", "problem"),
    [
        ({}, "", "can't set `spec.hostUsers: false`, runtime does not support user namespaces"),
        (
            {"": True, "kata": False},
            "kata",
            'can\'t set `spec.hostUsers: false`, RuntimeClass handler "kata" does not support '
            "user namespaces",
        ),
        (
            {"": True},
            "gone",
            'can\'t set `spec.hostUsers: false`, RuntimeClass handler "gone" does not support '
            'user namespaces: the handler "gone" is not known',
        ),
    ],
)
async def test_what_the_runtime_cannot_do_is_refused(
    tmp_path: Path, handlers: dict[str, bool], handler: str, problem: str
) -> None:
    found = namespaces(tmp_path, handlers=handlers)
    with pytest.raises(UserNamespaceError) as refused:
        await found.prepare(rootless("a"), handler)
    assert str(refused.value) == problem


def written(**changes: Any) -> Obj:
    mapping = [{"hostId": UNIT, "containerId": 0, "length": UNIT, **changes}]
    return {"uidMappings": mapping, "gidMappings": mapping}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "uidMappings"),
        ({**written(), "gidMappings": []}, "GID and UID mapping should be identical"),
        (written(containerId=1), "UID 0 must be mapped"),
        (written(length=1), "wrong user namespace length 1"),
        (written(hostId=0), "id 0 is out of range"),
    ],
)
def test_a_kubelet_does_not_start_where_it_cannot_tell_whose_ids_are_taken(
    tmp_path: Path, document: Obj, problem: str
) -> None:
    directory = tmp_path / "pods" / "u"
    directory.mkdir(parents=True)
    (directory / "userns").write_bytes(orjson.dumps(document))
    with pytest.raises(BadFlag) as refused:
        namespaces(tmp_path)
    assert 'record pod mappings for existing pod "u"' in str(refused.value)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("size", "problem"),
    [(UNIT - 1, "not be less than"), (UNIT + 1, "a multiple of"), (2**32, "not be more than")],
)
def test_sizes_that_make_no_sense_are_refused(tmp_path: Path, size: int, problem: str) -> None:
    runtime: Any = Runtime({})
    with pytest.raises(BadFlag, match=problem):
        config = Config(user_namespaces_ids_per_pod=size)
        make_user_namespaces(config, Paths(tmp_path), runtime)
    made = make_user_namespaces(
        Config(user_namespaces_ids_per_pod=3 * UNIT), Paths(tmp_path), runtime
    )
    assert made.options(pod()).mode == cri.NODE


def test_the_ids_of_the_kubelets_own_user_are_read() -> None:
    assert parse_subordinate_ids("0: kubelet 65536 2147483648\n") == (65536, 2147483648)
    for text in ("", "0: kubelet 65536", "0: kubelet a b\n", "0: kubelet 1 2\n1: kubelet 3 4\n"):
        with pytest.raises(BadFlag):
            parse_subordinate_ids(text)
