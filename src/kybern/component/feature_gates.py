"""Feature gates: upstream's switches for what is not finished, by name.

``feature_gates.txt`` knows all of them with their stages and defaults. Kybern behaves as a gate's
default says, except for those that a component can switch; so a setting is accepted if it is the
default or names one of these, and everything else is refused rather than ignored.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kybern.component.flags import BadFlag

# What a gate asks for, among those that anything here can switch.
_NEEDS = {"ClusterTrustBundleProjection": ("ClusterTrustBundle",)}
ALL = {"AllAlpha": "ALPHA", "AllBeta": "BETA"}
# What strconv.ParseBool takes.
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


@dataclass(frozen=True, slots=True)
class Gate:
    """``stage`` is ALPHA, BETA, GA or DEPRECATED; a locked gate cannot leave its default."""

    name: str
    stage: str
    default: bool
    locked: bool


@cache
def known_gates() -> dict[str, Gate]:
    """Every gate by name."""
    text = Path(__file__).with_suffix(".txt").read_text()
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {
        name: Gate(name, stage, default == "true", bool(locked))
        for name, stage, default, *locked in lines
    }


class FeatureGates:
    """The gates as set by ``--feature-gates``; raises ValueError for settings that cannot be.

    ``settings`` are like ``Name=true``; ``switchable`` are the gates that steer something here.
    """

    def __init__(self, settings: Iterable[str], switchable: Collection[str]) -> None:
        chosen = dict(map(_setting, filter(None, settings)))
        for name, value in chosen.items():
            _check(name, value)
        self._enabled = {gate.name: gate.default for gate in known_gates().values()}
        for name, stage in ALL.items():
            if name in chosen:
                of_stage = [g.name for g in known_gates().values() if g.stage == stage]
                unset = [gate for gate in of_stage if gate not in chosen]
                self._enabled |= dict.fromkeys(unset, chosen[name])
        self._enabled |= chosen
        refused = [
            name
            for name, gate in known_gates().items()
            if self._enabled[name] != gate.default and name not in switchable and name not in ALL
        ]
        if refused:
            settings_ = ", ".join(f"{name}={_go(self._enabled[name])}" for name in refused)
            raise BadFlag(
                f"feature gates that do not exist in this server in another state: {settings_}"
            )
        for name, needed in _NEEDS.items():
            off = [gate for gate in needed if not self._enabled[gate]]
            if self._enabled[name] and off:
                raise BadFlag(
                    f"{name} is enabled, but depends on features that are disabled: "
                    f"[{' '.join(off)}]"
                )

    def enabled(self, name: str) -> bool:
        return self._enabled[name]

    def exposition(self) -> Iterator[str]:
        """``kubernetes_feature_enabled`` in Prometheus' text format."""
        name = "kubernetes_feature_enabled"
        yield f"# HELP {name} Feature gates with their stages, and whether they are enabled."
        yield f"# TYPE {name} gauge"
        for gate in known_gates().values():
            stage = "" if gate.stage == "GA" else gate.stage
            value = int(self._enabled[gate.name])
            yield f'{name}{{name="{gate.name}",stage="{stage}"}} {value}'


def switches_help(switchable: Iterable[str]) -> str:
    """What ``--help`` says about the gates that can be switched."""
    gates = known_gates()
    shown = ", ".join(
        f"{name}=true|false ({gates[name].stage} - default={_go(gates[name].default)})"
        for name in sorted(switchable)
    )
    return (
        "Pairs of a feature gate and true or false. Other gates than these are accepted with "
        f"their defaults only: {shown}."
    )


def _setting(text: str) -> tuple[str, bool]:
    name, equals, value = text.partition("=")
    name = name.strip().removeprefix("kube:")
    if not equals:
        raise BadFlag(f"missing bool value for {name}")
    value = value.strip()
    if value not in _BOOLEANS:
        problem = f'strconv.ParseBool: parsing "{value}": invalid syntax'
        raise BadFlag(f"invalid value of {name}={value}, err: {problem}")
    return name, _BOOLEANS[value]


def _check(name: str, value: bool) -> None:
    gate = known_gates().get(name)
    if gate is None:
        raise BadFlag(f"unrecognized feature gate: {name}")
    if gate.locked and value != gate.default:
        raise BadFlag(
            f"cannot set feature gate {name} to {_go(value)}, "
            f"feature is locked to {_go(gate.default)}"
        )


def _go(value: bool) -> str:
    return "true" if value else "false"
