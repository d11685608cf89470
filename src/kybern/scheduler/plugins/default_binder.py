"""DefaultBinder: a decision becomes a Binding of the pod to its node."""

from typing import Any

from kybern.scheduler.plugin import Plugin

Obj = dict[str, Any]


class DefaultBinder(Plugin):
    name = "DefaultBinder"

    @staticmethod
    def binding(pod: Obj, node_name: str) -> Obj:
        """The object to create at the pod's ``binding`` subresource."""
        meta = pod["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "target": {"kind": "Node", "name": node_name},
        }
