"""Objects of every kind against what kube-apiserver answered for them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kind_lifecycle import created, served, shown

from kybern.api.errors import Obj

CASES = Path(__file__).parent / "cases"


def cases(name: str) -> list[Any]:
    loaded = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    return [pytest.param(case, id=f"{i}-{case['object']['kind']}") for i, case in enumerate(loaded)]


@pytest.mark.parametrize("case", cases("refused"))
def test_broken_objects_get_upstreams_causes(case: Obj) -> None:
    _, errors = created(case["object"])
    assert sorted({str(error) for error in errors}) == sorted(set(case["causes"]))


@pytest.mark.parametrize("case", cases("accepted"))
def test_sound_objects_are_stored_as_upstream_stores_them(case: Obj) -> None:
    stored, errors = created(case["object"])
    assert errors == []
    served_as = {**stored}
    if case["object"]["apiVersion"] != stored["apiVersion"]:
        served_as = served(case["object"]).from_storage(stored)
    assert shown(served_as) == case["stored"]
