"""Which stored objects the server puts right, and which it leaves to people."""

from copy import deepcopy

import pytest

from kybern.api.errors import Obj
from kybern.apiserver.flow_control.bootstrap_objects import (
    AUTOUPDATE,
    MANDATORY_LEVELS,
    SUGGESTED_LEVELS,
)
from kybern.apiserver.flow_control.producer import revision

SUGGESTED = SUGGESTED_LEVELS[0]
CATCH_ALL, EXEMPT = MANDATORY_LEVELS


def stored(wanted: Obj, annotation: str | None, generation: int = 1, **spec: object) -> Obj:
    obj = deepcopy(wanted)
    obj["metadata"]["generation"] = generation
    obj["metadata"]["annotations"] = {AUTOUPDATE: annotation} if annotation is not None else {}
    obj["spec"].update(spec)
    return obj


def test_what_is_up_to_date_is_left_alone() -> None:
    assert revision(stored(SUGGESTED, "true"), SUGGESTED, mandatory=False) is None


@pytest.mark.parametrize(
    ("annotation", "generation", "mandatory", "restored", "annotated"),
    [
        ("true", 7, False, True, "true"),
        ("1", 7, False, True, "true"),
        ("false", 7, True, True, "true"),
        (None, 1, False, True, "true"),
        ("what", 1, False, True, "true"),
        (None, 2, False, False, "false"),
        ("what", 2, False, False, "false"),
    ],
)
def test_a_changed_spec_is_put_right_where_the_annotation_allows_it(
    annotation: str | None, generation: int, mandatory: bool, restored: bool, annotated: str
) -> None:
    found = stored(SUGGESTED, annotation, generation, limited={"nominalConcurrencyShares": 1})
    revised = revision(found, SUGGESTED, mandatory=mandatory)
    assert revised is not None
    assert (revised["spec"] == SUGGESTED["spec"]) is restored
    assert revised["metadata"]["annotations"][AUTOUPDATE] == annotated


def test_an_object_that_people_took_over_is_theirs() -> None:
    found = stored(SUGGESTED, "false", 2, limited={"nominalConcurrencyShares": 1})
    assert revision(found, SUGGESTED, mandatory=False) is None


def test_what_the_exempt_level_lends_is_left_to_people() -> None:
    found = stored(EXEMPT, "true", 2, exempt={"nominalConcurrencyShares": 5, "lendablePercent": 9})
    assert revision(found, EXEMPT, mandatory=True) is None
