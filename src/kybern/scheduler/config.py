"""The scheduler's flags, named as upstream's."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass
class Config:
    """Flags of ``kybern run scheduler``."""

    scheduler_config: str = flag("", "Path of a KubeSchedulerConfiguration file.")
    leader_elect: bool = flag(True, "Take the Lease kube-system/kube-scheduler before working.")
