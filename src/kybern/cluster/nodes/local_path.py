"""The built-in storage class of a cluster with real nodes, and what its provisioners may do.

The class is the default one, so that a claim that says nothing of classes gets a volume. It is made
once: who removes its mark or changes it finds it so after the next start.
"""

from kybern.api.errors import Obj
from kybern.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    STORAGE_CLASSES,
    Resource,
)
from kybern.api.volumes import IS_DEFAULT_CLASS
from kybern.client.client import Client
from kybern.cluster.credentials import LOCAL_PATH_GROUP
from kybern.cluster.nodes.roles import ensure
from kybern.localpath.volume import NAME

CLASS = "local-path"
_ROLE = "kybern:local-path"
_API_GROUP = "rbac.authorization.k8s.io"


def objects() -> list[tuple[Resource, Obj]]:
    """The role, its binding and the class."""
    role = {
        "metadata": {"name": _ROLE},
        "rules": [
            _rule("", "persistentvolumes", "get list watch create update patch delete"),
            _rule("", "persistentvolumeclaims", "get list watch update"),
            _rule("", "persistentvolumeclaims/status", "update"),
            _rule("storage.k8s.io", "storageclasses", "get list watch"),
            _rule("", "nodes", "get"),
            _rule("", "events", "create patch"),
        ],
    }
    binding = {
        "metadata": {"name": _ROLE},
        "subjects": [{"kind": "Group", "name": LOCAL_PATH_GROUP, "apiGroup": _API_GROUP}],
        "roleRef": {"kind": "ClusterRole", "name": _ROLE, "apiGroup": _API_GROUP},
    }
    storage_class = {
        "metadata": {"name": CLASS, "annotations": {IS_DEFAULT_CLASS: "true"}},
        "provisioner": NAME,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }
    return [
        (CLUSTER_ROLES, role),
        (CLUSTER_ROLE_BINDINGS, binding),
        (STORAGE_CLASSES, storage_class),
    ]


def _rule(group: str, resource: str, verbs: str) -> Obj:
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs.split()}


async def offer(client: Client) -> None:
    """Make all that is not there; ``client`` is the administrator's."""
    await ensure(client, objects())
