"""Labels and annotations that a kubelet leaves on sandboxes and containers.

They are the kubelet's only memory across restarts, and the names are upstream's, so that crictl and
other tools understand the node.
"""

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
POD_GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"
# Ours alone: a memory request leaves no trace in cgroups, so the container carries it.
MEMORY_REQUEST = "io.kybern.container.memoryRequest"
