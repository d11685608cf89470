"""All plugins by name."""

from kybern.scheduler.plugin import Plugin
from kybern.scheduler.plugins.default_binder import DefaultBinder
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.plugins.dynamic_resources import DynamicResources
from kybern.scheduler.plugins.image_locality import ImageLocality
from kybern.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from kybern.scheduler.plugins.node_affinity import NodeAffinity
from kybern.scheduler.plugins.node_name import NodeName
from kybern.scheduler.plugins.node_ports import NodePorts
from kybern.scheduler.plugins.node_resources_balanced_allocation import (
    NodeResourcesBalancedAllocation,
)
from kybern.scheduler.plugins.node_resources_fit import NodeResourcesFit
from kybern.scheduler.plugins.node_unschedulable import NodeUnschedulable
from kybern.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from kybern.scheduler.plugins.pod_topology_spread import PodTopologySpread
from kybern.scheduler.plugins.priority_sort import PrioritySort
from kybern.scheduler.plugins.scheduling_gates import SchedulingGates
from kybern.scheduler.plugins.taint_toleration import TaintToleration
from kybern.scheduler.plugins.volume_binding import VolumeBinding
from kybern.scheduler.plugins.volume_restrictions import VolumeRestrictions
from kybern.scheduler.plugins.volume_zone import VolumeZone

PLUGINS: dict[str, type[Plugin]] = {
    plugin.name: plugin
    for plugin in (
        SchedulingGates,
        PrioritySort,
        NodeUnschedulable,
        NodeName,
        TaintToleration,
        NodeAffinity,
        NodePorts,
        NodeResourcesFit,
        VolumeRestrictions,
        NodeVolumeLimits,
        VolumeBinding,
        VolumeZone,
        PodTopologySpread,
        InterPodAffinity,
        NodeResourcesBalancedAllocation,
        ImageLocality,
        DynamicResources,
        DefaultPreemption,
        DefaultBinder,
    )
}
