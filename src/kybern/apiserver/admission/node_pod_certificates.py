"""What a node may ask for with a PodCertificateRequest: certificates for its own pods.

Part of ``node_restriction.py``. What the caches of a server may only not know yet is no refusal but
an error, so that the node asks again.
"""

from typing import NoReturn

from kybern.api.errors import Obj, StatusError, not_found
from kybern.api.resources import NODES, PODS, SERVICE_ACCOUNTS, Resource
from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.lookup import Lookup

_MIRROR_POD = "kubernetes.io/config.mirror"


def check_pod_certificate(node: str, attributes: AdmissionAttributes, lookup: Lookup) -> None:
    """Raises StatusError unless node, pod and service account are what the cluster knows."""
    if attributes.operation != CREATE:
        raise attributes.forbid(f"unexpected operation {attributes.operation}")
    if attributes.subresource:
        raise attributes.forbid(f"unexpected subresource {attributes.subresource}")
    spec = (attributes.object or {}).get("spec") or {}
    asked = spec.get("nodeName", "")
    if asked != node:
        raise attributes.forbid(
            f'PodCertificateRequest.Spec.NodeName="{asked}", which is not the requesting node '
            f'"{node}"'
        )
    _check_node(spec, attributes, lookup)
    pod = _check_pod(spec, attributes, lookup)
    _check_account(spec, pod, attributes, lookup)


def _check_node(spec: Obj, attributes: AdmissionAttributes, lookup: Lookup) -> None:
    name, uid = spec["nodeName"], spec.get("nodeUID", "")
    found = _find(lookup, NODES, name, "", f'node "{name}"')
    if found["metadata"]["uid"] != uid:
        _retry(
            f'PodCertificateRequest for pod "{_full(attributes, spec.get("podName", ""))}" names '
            f'node UID "{uid}", inconsistent with the running node ("{found["metadata"]["uid"]}")'
        )


def _check_pod(spec: Obj, attributes: AdmissionAttributes, lookup: Lookup) -> Obj:
    name, uid = spec.get("podName", ""), spec.get("podUID", "")
    full = _full(attributes, name)
    pod = _find(lookup, PODS, name, attributes.namespace, f'pod "{full}"')
    if pod["metadata"]["uid"] != uid:
        _retry(
            f'PodCertificateRequest for pod "{full}" contains pod UID ("{uid}") which differs from '
            f'running pod "{pod["metadata"]["uid"]}"'
        )
    if pod["spec"].get("nodeName") != spec["nodeName"]:
        raise attributes.forbid(
            f'pod "{full}" is not running on node "{spec["nodeName"]}" named in the '
            "PodCertificateRequest"
        )
    if _MIRROR_POD in (pod["metadata"].get("annotations") or {}):
        raise attributes.forbid(f'pod "{full}" is a mirror pod')
    return pod


def _check_account(spec: Obj, pod: Obj, attributes: AdmissionAttributes, lookup: Lookup) -> None:
    name, uid = spec.get("serviceAccountName", ""), spec.get("serviceAccountUID", "")
    full, used = _full(attributes, spec["podName"]), pod["spec"].get("serviceAccountName", "")
    if name != used:
        raise attributes.forbid(
            f'PodCertificateRequest for pod "{full}" contains serviceAccountName ("{name}") that '
            f'differs from running pod ("{used}")'
        )
    what = f'service account "{_full(attributes, name)}"'
    account = _find(lookup, SERVICE_ACCOUNTS, name, attributes.namespace, what)
    if account["metadata"]["uid"] != uid:
        _retry(
            f'PodCertificateRequest for pod "{full}" names service account UID "{uid}", which '
            f'differs from the running service account ("{account["metadata"]["uid"]}")'
        )


def _find(lookup: Lookup, resource: Resource, name: str, namespace: str, what: str) -> Obj:
    found = lookup.get(resource, name, namespace)
    if found is None:
        absent = not_found(resource.kind.lower(), name)
        _retry(f"while retrieving {what} named in the PodCertificateRequest: {absent}")
    return found


def _full(attributes: AdmissionAttributes, name: str) -> str:
    return f"{attributes.namespace}/{name}"


def _retry(text: str) -> NoReturn:
    raise StatusError(500, "", text)
