"""What ``topologyManagerPolicyOptions`` says, checked as upstream does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kybern.component.flags import BadFlag
from kybern.kubelet.cpus.options import parse_switch

CLOSEST = "prefer-closest-numa-nodes"
MOST_NODES = "max-allowable-numa-nodes"
# With more nodes than this there are too many sets of them to go through.
FEWEST_ALLOWABLE = 8


@dataclass(frozen=True, slots=True)
class Options:
    """Of as many nodes the closest are preferred; a machine may have that many nodes."""

    closest: bool = False
    most_nodes: int = FEWEST_ALLOWABLE


def parse_options(given: Mapping[str, str]) -> Options:
    """The policy's options; raises BadFlag for those that are unknown or make no sense."""
    for name in sorted(given):
        if name not in (CLOSEST, MOST_NODES):
            raise BadFlag(f'unknown Topology Manager Policy option: "{name}"')
    text = given.get(MOST_NODES, str(FEWEST_ALLOWABLE))
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise BadFlag(
            f'unable to convert policy option to integer "{MOST_NODES}": '
            f'strconv.Atoi: parsing "{text}": invalid syntax'
        )
    if int(text) < FEWEST_ALLOWABLE:
        raise BadFlag(
            f'the minimum value of "{MOST_NODES}" should not be less than {FEWEST_ALLOWABLE}'
        )
    return Options(parse_switch(CLOSEST, given.get(CLOSEST, "false")), int(text))
