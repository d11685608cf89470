"""The scheduler's flags, named as upstream's."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass
class Config:
    """Flags of ``kybern run scheduler``."""

    scheduler_config: str = flag("", "Path of a KubeSchedulerConfiguration file.")
    metrics_bind_address: str = flag(
        "",
        "Serve /healthz and /metrics on this host:port, without authentication (empty: do not).",
        name="scheduler-metrics-bind-address",
    )
    leader_elect: bool = flag(True, "Take the Lease kube-system/kube-scheduler before working.")
