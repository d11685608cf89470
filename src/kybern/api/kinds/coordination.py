"""Lease, and LeaseCandidate of coordinated leader election."""

from typing import Any

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds.columns import AGE, NAME, at, field
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.fields import qualified_name
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import Messages, is_config_key

_STRATEGIES = ("OldestEmulationVersion",)
_NO_VERSION: tuple[Any, ...] = (0, 0, 0, True, ())

_COORDINATED = ("strategy", "preferredHolder")


def _create(lease: Obj) -> None:
    """Coordinated leader election is behind a gate that is off by default."""
    for name in _COORDINATED:
        (lease.get("spec") or {}).pop(name, None)


def _update(new: Obj, old: Obj) -> None:
    held = old.get("spec") or {}
    if not any(held.get(name) for name in _COORDINATED):
        _create(new)


def _check_strategy(strategy: str) -> list[FieldError]:
    path = "spec.strategy.strategy"
    if "/" in strategy:
        return qualified_name(strategy, path)
    return [] if strategy in _STRATEGIES else [not_supported(path, strategy, _STRATEGIES)]


def _check(lease: Obj) -> list[FieldError]:
    spec = lease.get("spec") or {}
    errors: list[FieldError] = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        text = "must be greater than 0"
        errors.append(invalid_value("spec.leaseDurationSeconds", seconds, text))
    if transitions is not None and transitions < 0:
        text = "must be greater than or equal to 0"
        errors.append(invalid_value("spec.leaseTransitions", transitions, text))
    strategy = spec.get("strategy")
    if strategy is not None:
        errors += _check_strategy(strategy)
    if spec.get("preferredHolder") and not strategy:
        text = "may only be specified if `strategy` is defined"
        errors.append(field_forbidden("spec.preferredHolder", text))
    return errors


def _check_candidate(candidate: Obj) -> list[FieldError]:
    spec = candidate.get("spec") or {}
    errors = [] if spec.get("leaseName") else [required("spec.leaseName")]
    emulation, broken = _version(spec, "emulationVersion")
    errors += broken
    if not spec.get("binaryVersion"):
        errors.append(required("spec.binaryVersion"))
    binary, broken = _version(spec, "binaryVersion")
    errors += broken
    if spec.get("binaryVersion") and spec.get("emulationVersion") and binary < emulation:
        text = "must be greater than or equal to `emulationVersion`"
        errors.append(invalid_value("spec.binaryVersion", spec["binaryVersion"], text))
    strategy = spec.get("strategy", "")
    if not strategy:
        return [*errors, required("spec.strategy")]
    if strategy in _STRATEGIES and emulation == _NO_VERSION:
        text = "must be specified when `strategy` is 'OldestEmulationVersion'"
        errors.append(required("spec.emulationVersion", text))
    return errors + _check_strategy(strategy)


def _version(spec: Obj, name: str) -> tuple[tuple[Any, ...], list[FieldError]]:
    """A version in a form that can be compared, and what is wrong with it."""
    text = spec.get(name, "")
    if not text:
        return _NO_VERSION, []
    # The expressions' libraries are loaded by who needs them.
    from kybern.api.cel.errors import EvaluationError
    from kybern.api.cel.functions import semver

    try:
        return semver.parse(text).order(), []
    except EvaluationError:
        problem = "must be a valid semantic version"
        return _NO_VERSION, [invalid_value(f"spec.{name}", text, problem)]


def _check_candidate_update(new: Obj, old: Obj) -> list[FieldError]:
    after, before = (obj.get("spec") or {} for obj in (new, old))
    return immutable(after.get("leaseName"), before.get("leaseName"), "spec.leaseName")


def _candidate_name(name: str, prefix: bool) -> Messages:
    return is_config_key(name)


LEASE_CANDIDATE = Kind(
    group="coordination.k8s.io",
    kind="LeaseCandidate",
    plural="leasecandidates",
    versions=("v1beta1", "v1alpha2"),
    deprecations={
        "v1beta1": "coordination.k8s.io/v1beta1 LeaseCandidate is deprecated in v1.36+, "
        "unavailable in v1.39+",
        "v1alpha2": "coordination.k8s.io/v1alpha2 LeaseCandidate is deprecated in v1.35+, "
        "unavailable in v1.38+",
    },
    strategy=Strategy(
        name_rule=_candidate_name,
        check=_check_candidate,
        check_update=_check_candidate_update,
        allow_create_on_update=True,
        allow_unconditional_update=False,
    ),
    columns=(
        NAME,
        Column("LeaseName", at("spec", "leaseName")),
        Column("BinaryVersion", at("spec", "binaryVersion")),
        Column("EmulationVersion", at("spec", "emulationVersion")),
        AGE,
    ),
    selectable_fields={"spec.leaseName": field("spec", "leaseName")},
)

LEASE = Kind(
    group="coordination.k8s.io",
    kind="Lease",
    plural="leases",
    strategy=Strategy(
        any_finalizer=True,
        create=_create,
        update=_update,
        check=_check,
        allow_create_on_update=True,
        allow_unconditional_update=False,
    ),
    columns=(NAME, Column("Holder", at("spec", "holderIdentity")), AGE),
)
