"""FlowSchema, PriorityLevelConfiguration."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

FLOW_SCHEMA = Kind(
    group="flowcontrol.apiserver.k8s.io",
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    subresources=(status_of("FlowSchema"),),
    strategy=Strategy(namespaced=False, status=True, generation=spec_changed),
)

PRIORITY_LEVEL_CONFIGURATION = Kind(
    group="flowcontrol.apiserver.k8s.io",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    subresources=(status_of("PriorityLevelConfiguration"),),
    strategy=Strategy(namespaced=False, status=True, generation=spec_changed),
)
