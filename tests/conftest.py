"""What holds for all tests: the long rounds run on request only."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("KYBERN_LONG"):
        return
    reason = pytest.mark.skip(reason="a long round: bin/test --long runs it")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(reason)
