"""KubeSchedulerConfiguration: upstream's configuration file, read into profile settings.

``load`` reads ``--config``; without it there is one profile, ``default-scheduler``, with upstream's
default plugins and weights. A name of a plugin that does not exist is an error when the profile is
made, so that a cluster never runs with less than its configuration says. percentageOfNodesToScore
bounds what extenders are asked at once; the plugins' own scores are those of all nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kybern.api import yaml
from kybern.component.duration import go_duration, parse_duration
from kybern.scheduler.extenders.settings import (
    ExtenderSettings,
    ExtenderSettingsError,
    read_extenders,
)

Obj = dict[str, Any]

API_VERSION = "kubescheduler.config.k8s.io/v1"
DEFAULT_SCHEDULER = "default-scheduler"

# Upstream's default plugins in upstream's order (filters run in this order), with score weights.
DEFAULT_PLUGINS: dict[str, int] = {
    "SchedulingGates": 0,
    "PrioritySort": 0,
    "NodeUnschedulable": 0,
    "NodeName": 0,
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodePorts": 0,
    "NodeResourcesFit": 1,
    "VolumeRestrictions": 0,
    "NodeVolumeLimits": 0,
    "VolumeBinding": 0,
    "VolumeZone": 0,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "DynamicResources": 2,
    "DefaultPreemption": 0,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
    "DefaultBinder": 0,
    "NodeDeclaredFeatures": 0,
}

FILTER_POINTS = ("preFilter", "filter")
SCORE_POINTS = ("preScore", "score")


class ConfigurationError(ValueError):
    """The configuration file cannot be used; the text says where and why."""


@dataclass(slots=True)
class EnabledPlugin:
    """One plugin of a profile and the parts of it that are on."""

    name: str
    weight: int
    filters: bool = True
    scores: bool = True


@dataclass(slots=True)
class ProfileSettings:
    """One profile: pods choose it by ``schedulerName``."""

    scheduler_name: str = DEFAULT_SCHEDULER
    plugins: list[EnabledPlugin] = field(
        default_factory=lambda: [EnabledPlugin(n, w) for n, w in DEFAULT_PLUGINS.items()]
    )
    args: dict[str, Obj] = field(default_factory=dict)
    # Which part of the nodes extenders are asked about at first; 0 leaves it to the cluster's size.
    percentage: int = 0


@dataclass(slots=True)
class LeaderElection:
    """The Lease of the leader; ``leader_elect`` is None where the file does not say."""

    leader_elect: bool | None = None
    name: str = "kube-scheduler"
    namespace: str = "kube-system"
    lease_seconds: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0


@dataclass(slots=True)
class Settings:
    """The whole configuration."""

    profiles: list[ProfileSettings] = field(default_factory=lambda: [ProfileSettings()])
    initial_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 10.0
    leader_election: LeaderElection = field(default_factory=LeaderElection)
    extenders: list[ExtenderSettings] = field(default_factory=list)


def load(text: str | bytes) -> Settings:
    """Parse a configuration file; raises ConfigurationError."""
    document = yaml.load(text)
    if not isinstance(document, dict) or document.get("kind") != "KubeSchedulerConfiguration":
        raise ConfigurationError("expected a KubeSchedulerConfiguration")
    if document.get("apiVersion") != API_VERSION:
        raise ConfigurationError(f"apiVersion: expected {API_VERSION}")
    for part in (document, *(document.get("profiles") or ())):
        _check_percentage(part.get("percentageOfNodesToScore"))
    settings = Settings()
    settings.initial_backoff_seconds = document.get("podInitialBackoffSeconds") or 1
    settings.max_backoff_seconds = document.get("podMaxBackoffSeconds") or 10
    settings.leader_election = _leader_election(document.get("leaderElection") or {})
    if profiles := document.get("profiles"):
        settings.profiles = [_profile(profile) for profile in profiles]
    for profile, part in zip(settings.profiles, profiles or [{}], strict=True):
        own = part.get("percentageOfNodesToScore")
        profile.percentage = document.get("percentageOfNodesToScore") or 0 if own is None else own
    try:
        settings.extenders = read_extenders(document.get("extenders") or ())
    except ExtenderSettingsError as error:
        raise ConfigurationError(str(error)) from error
    _leave_to_extenders(settings)
    names = [profile.scheduler_name for profile in settings.profiles]
    if len(set(names)) != len(names):
        raise ConfigurationError("profiles: two profiles have the same schedulerName")
    return settings


def _leader_election(document: Obj) -> LeaderElection:
    found = LeaderElection(
        document.get("leaderElect"),
        document.get("resourceName") or "kube-scheduler",
        document.get("resourceNamespace") or "kube-system",
        round(_seconds(document, "leaseDuration", 15)),
        _seconds(document, "renewDeadline", 10),
        _seconds(document, "retryPeriod", 2),
    )
    if found.lease_seconds <= found.renew_deadline:
        raise ConfigurationError("leaderElection: LeaseDuration must be greater than RenewDeadline")
    if found.renew_deadline <= found.retry_period:
        raise ConfigurationError("leaderElection: RenewDeadline must be greater than RetryPeriod")
    return found


def _seconds(document: Obj, name: str, default: float) -> float:
    try:
        return float(parse_duration(document[name])) if name in document else default
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"leaderElection.{name}: {error}") from error


def _leave_to_extenders(settings: Settings) -> None:
    """Resources that an extender counts itself are not checked by NodeResourcesFit."""
    ignored = [name for one in settings.extenders for name in one.unchecked_resources]
    for profile in settings.profiles:
        if ignored:
            args = profile.args.get("NodeResourcesFit") or {}
            profile.args["NodeResourcesFit"] = {**args, "ignoredResources": ignored}


def _check_percentage(value: Any) -> None:
    """Upstream's limits."""
    if value is not None and (not isinstance(value, int) or not 0 <= value <= 100):
        raise ConfigurationError("percentageOfNodesToScore: expected a number from 0 to 100")


def _profile(document: Obj) -> ProfileSettings:
    points = document.get("plugins") or {}
    enabled = {name: EnabledPlugin(name, weight) for name, weight in DEFAULT_PLUGINS.items()}
    for name in _disabled(points, "multiPoint", enabled):
        enabled.pop(name, None)
    for entry in (points.get("multiPoint") or {}).get("enabled") or ():
        enabled[entry["name"]] = EnabledPlugin(entry["name"], _weight(entry))
    for point in FILTER_POINTS:
        for name in _disabled(points, point, enabled):
            if name in enabled:
                enabled[name].filters = False
    for point in SCORE_POINTS:
        for name in _disabled(points, point, enabled):
            if name in enabled:
                enabled[name].scores = False
    for point in ("preEnqueue", "postFilter"):
        for name in _disabled(points, point, enabled):
            enabled.pop(name, None)
    _enable_points(points, enabled)
    return ProfileSettings(
        scheduler_name=document.get("schedulerName") or DEFAULT_SCHEDULER,
        plugins=list(enabled.values()),
        args={c["name"]: c.get("args") or {} for c in document.get("pluginConfig") or ()},
    )


def _enable_points(points: Obj, enabled: dict[str, EnabledPlugin]) -> None:
    for point, is_score in (("filter", False), ("score", True)):
        for entry in (points.get(point) or {}).get("enabled") or ():
            plugin = enabled.setdefault(
                entry["name"], EnabledPlugin(entry["name"], 0, filters=False, scores=False)
            )
            if is_score:
                plugin.scores = True
                plugin.weight = _weight(entry)
            else:
                plugin.filters = True


def _weight(entry: Obj) -> int:
    """A weight that is left out is the plugin's default, at least 1."""
    return entry.get("weight") or DEFAULT_PLUGINS.get(entry["name"], 0) or 1


def as_document(settings: Settings, elects: bool) -> Obj:
    """The configuration in force, as ``/configz`` shows it."""
    election = settings.leader_election
    return {
        "apiVersion": API_VERSION,
        "kind": "KubeSchedulerConfiguration",
        "podInitialBackoffSeconds": settings.initial_backoff_seconds,
        "podMaxBackoffSeconds": settings.max_backoff_seconds,
        "leaderElection": {
            "leaderElect": elects,
            "leaseDuration": go_duration(election.lease_seconds),
            "renewDeadline": go_duration(election.renew_deadline),
            "retryPeriod": go_duration(election.retry_period),
            "resourceLock": "leases",
            "resourceName": election.name,
            "resourceNamespace": election.namespace,
        },
        "profiles": [
            {
                "schedulerName": profile.scheduler_name,
                "percentageOfNodesToScore": profile.percentage,
                "plugins": {
                    "multiPoint": {
                        "enabled": [{"name": p.name, "weight": p.weight} for p in profile.plugins]
                    }
                },
                "pluginConfig": [{"name": n, "args": args} for n, args in profile.args.items()],
            }
            for profile in settings.profiles
        ],
        "extenders": [
            {
                "urlPrefix": one.url,
                "filterVerb": one.filter_verb,
                "prioritizeVerb": one.prioritize_verb,
                "preemptVerb": one.preempt_verb,
                "bindVerb": one.bind_verb,
                "weight": one.weight,
                "httpTimeout": go_duration(one.timeout),
                "nodeCacheCapable": one.caches_nodes,
                "ignorable": one.ignorable,
                "managedResources": [{"name": name} for name in sorted(one.resources)],
            }
            for one in settings.extenders
        ],
    }


def _disabled(points: Obj, point: str, enabled: dict[str, EnabledPlugin]) -> Sequence[str]:
    names = [entry["name"] for entry in (points.get(point) or {}).get("disabled") or ()]
    return list(enabled) if "*" in names else names
