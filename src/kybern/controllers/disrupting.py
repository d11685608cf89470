"""Deleting a pod that has to go: its condition says first why, for whoever counts disruptions.

The controllers that evict from tainted nodes and devices share it.
"""

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS
from kybern.client import Client


async def delete_disrupted(
    client: Client, pod: Obj, reason: str, message: str, timestamp: str
) -> None:
    """Mark the pod with DisruptionTarget and delete it; one that is gone already is fine."""
    marked = objects.copy(pod)
    objects.set_condition(marked, "DisruptionTarget", "True", reason, message, timestamp)
    name, namespace = objects.name(pod), objects.namespace(pod)
    try:
        await client.update_status(PODS, marked)
        await client.delete(PODS, name, namespace, uid=objects.uid(pod))
    except StatusError as error:
        if error.code != 404:
            raise
