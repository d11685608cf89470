"""What holds for all tests: the long rounds run on request only; one etcd serves all that ask."""

import os
import shutil
from collections.abc import Iterator

import pytest

from etcd_process import BINARY, Etcd, directory_in_memory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("KYBERN_LONG"):
        return
    reason = pytest.mark.skip(reason="a long round: bin/test --long runs it")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(reason)


@pytest.fixture(scope="session")
def etcd() -> Iterator[Etcd]:
    """An etcd for tests that each take a prefix of their own; skips where there is none."""
    if BINARY is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    directory = directory_in_memory()
    server = Etcd(directory / "data")
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory)
