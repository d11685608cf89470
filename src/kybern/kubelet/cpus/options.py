"""What ``cpuManagerPolicyOptions`` says: the static policy's options, checked as upstream does."""

from collections.abc import Mapping
from dataclasses import dataclass

from kybern.component.flags import BadFlag

FULL_CORES = "full-pcpus-only"
ACROSS_NUMA = "distribute-cpus-across-numa"
STRICT = "strict-cpu-reservation"
BY_CACHE = "prefer-align-cpus-by-uncorecache"
_ALPHA = ("align-by-socket", "distribute-cpus-across-cores")

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


@dataclass(frozen=True, slots=True)
class Options:
    """The options by what they ask for.

    ``full_cores``: only whole cores are given away. ``across_numa``: what one NUMA node cannot
    hold is spread evenly over several. ``strict``: the reserved CPUs are for no pod at all.
    ``by_cache``: CPUs that share a last-level cache are preferred.
    """

    full_cores: bool = False
    across_numa: bool = False
    strict: bool = False
    by_cache: bool = False


def parse_options(given: Mapping[str, str]) -> Options:
    """The static policy's options; raises BadFlag for those that are unknown or not enabled."""
    found: dict[str, bool] = {}
    for name, value in sorted(given.items()):
        if name in _ALPHA:
            raise BadFlag(
                f'CPU Manager Policy Alpha-level Options not enabled, but option "{name}" provided'
            )
        if name not in (FULL_CORES, ACROSS_NUMA, STRICT, BY_CACHE):
            raise BadFlag(f'unknown CPU Manager Policy option: "{name}"')
        found[name] = parse_switch(name, value)
    if found.get(BY_CACHE) and found.get(ACROSS_NUMA):
        raise BadFlag(
            f"static policy options {BY_CACHE} and {ACROSS_NUMA} can not be used at the same time"
        )
    return Options(
        full_cores=found.get(FULL_CORES, False),
        across_numa=found.get(ACROSS_NUMA, False),
        strict=found.get(STRICT, False),
        by_cache=found.get(BY_CACHE, False),
    )


def parse_switch(name: str, value: str) -> bool:
    """Whether a policy's option is on; raises BadFlag."""
    if value not in _TRUE + _FALSE:
        raise BadFlag(
            f'bad value for option "{name}": strconv.ParseBool: parsing "{value}": invalid syntax'
        )
    return value in _TRUE
