"""All plugins by name: those that ship, and those of installed packages.

A package adds plugins through entry points of the group ``kybern.scheduler_plugins``; each names a
subclass of :class:`~kybern.scheduler.plugin.Plugin`. A profile enables them by their name, like any
other; what ships cannot be replaced. They are looked for once, when the first is asked for.
"""

from functools import cache
from importlib.metadata import entry_points

from kybern.scheduler.plugin import Plugin
from kybern.scheduler.plugins.default_binder import DefaultBinder
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.plugins.dynamic_resources import DynamicResources
from kybern.scheduler.plugins.image_locality import ImageLocality
from kybern.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from kybern.scheduler.plugins.node_affinity import NodeAffinity
from kybern.scheduler.plugins.node_declared_features import NodeDeclaredFeatures
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

SHIPPED: dict[str, type[Plugin]] = {
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
        NodeDeclaredFeatures,
    )
}


ENTRY_POINTS = "kybern.scheduler_plugins"


class PluginError(Exception):
    """An installed package offers something that cannot be a plugin."""


def find_plugin(name: str) -> type[Plugin] | None:
    """The plugin of this name, or None."""
    return SHIPPED.get(name) or installed().get(name)


@cache
def installed() -> dict[str, type[Plugin]]:
    """The plugins of installed packages by name."""
    found: dict[str, type[Plugin]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        plugin = entry.load()
        if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
            raise PluginError(f"{ENTRY_POINTS}: {entry.value} is not a scheduler plugin")
        if plugin.name in SHIPPED or plugin.name in found:
            raise PluginError(f"{ENTRY_POINTS}: there is a plugin {plugin.name} already")
        found[plugin.name] = plugin
    return found
