"""The Node authorizer: a kubelet reads only what its pods need and writes only its own objects.

A user ``system:node:NAME`` in group ``system:nodes`` is a node. Resources that belong to pods are
judged by the graph (``node_graph.py``), some by name or by field selector, the rest by the static
rules of the role ``system:node``. What a write may contain is NodeRestriction's matter.
"""

from collections.abc import Callable, Collection

from kybern.api.user import UserInfo
from kybern.apiserver.authorization.authorizer import ALLOWED, NO_OPINION, Decision
from kybern.apiserver.authorization.bootstrap_policy import node_rules
from kybern.apiserver.authorization.node_graph import NodeGraph
from kybern.apiserver.authorization.policy_rules import CompiledRule
from kybern.apiserver.request_info import Attributes

_NODE_PREFIX = "system:node:"
_NODES_GROUP = "system:nodes"
_READ = frozenset({"get", "list", "watch"})
_WRITE_OWN = frozenset({"get", "create", "update", "patch", "delete"})
_OWN_VERBS = "can only get, create, update, patch, or delete a "


def node_name(user: UserInfo) -> str | None:
    """The node that a user is; None for everybody else."""
    if _NODES_GROUP not in user.groups or not user.name.startswith(_NODE_PREFIX):
        return None
    return user.name[len(_NODE_PREFIX) :]


class NodeAuthorizer:
    """Judges nodes by the graph; has no opinion on anyone else."""

    def __init__(self, graph: NodeGraph, gates: Collection[str] = ()) -> None:
        self._graph = graph
        self._rules = [CompiledRule(rule) for rule in node_rules(gates)]
        self._special: dict[tuple[str, str], Callable[[str, Attributes], Decision]] = {
            ("", "secrets"): self._read_own,
            ("", "configmaps"): self._read_own,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._get_own,
            ("resource.k8s.io", "resourceclaims"): self._get_own,
            ("storage.k8s.io", "volumeattachments"): self._get_own,
            ("", "serviceaccounts"): self._service_account,
            ("coordination.k8s.io", "leases"): self._lease,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("resource.k8s.io", "resourceslices"): self._resource_slice,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
            ("certificates.k8s.io", "podcertificaterequests"): (
                self._pod_certificate if "PodCertificateRequest" in gates else _no_opinion
            ),
        }

    def decide(self, attributes: Attributes) -> Decision:
        node = node_name(attributes.user)
        if node is None:
            return NO_OPINION
        if not node:
            return Decision(False, f'unknown node for user "{attributes.user.name}"')
        if attributes.is_resource_request:
            special = self._special.get((attributes.group, attributes.resource))
            if special is not None:
                return special(node, attributes)
        if any(rule.allows(attributes) for rule in self._rules):
            return ALLOWED
        return NO_OPINION

    def _related(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return Decision(False, "No Object name found")
        vertex = (attributes.resource, attributes.namespace, attributes.name)
        if self._graph.leads_to(vertex, node):
            return ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _read_own(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _READ:
            return Decision(False, "can only read resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot read subresource")
        if not attributes.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, attributes)

    def _get_own(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, attributes)

    def _claim(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource != "status":
            return self._get_own(node, attributes)
        if attributes.verb not in ("update", "patch"):
            return Decision(False, "can only get/update/patch this type")
        return self._related(node, attributes)

    def _service_account(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb == "get" and not attributes.subresource:
            return self._read_own(node, attributes)
        if attributes.verb != "create" or not attributes.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if attributes.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._related(node, attributes)

    def _lease(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _WRITE_OWN:
            return Decision(False, _OWN_VERBS + "node lease")
        if attributes.namespace != "kube-node-lease":
            return Decision(
                False, 'can only access leases in the "kube-node-lease" system namespace'
            )
        # A create carries no name in its path; NodeRestriction looks into the object instead.
        if attributes.verb != "create" and attributes.name != node:
            return Decision(
                False, "can only access node lease with the same name as the requesting node"
            )
        return ALLOWED

    def _csi_node(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _WRITE_OWN:
            return Decision(False, _OWN_VERBS + "CSINode")
        if attributes.subresource:
            return Decision(False, "cannot authorize CSINode subresources")
        if attributes.verb != "create" and attributes.name != node:
            return Decision(
                False, "can only access CSINode with the same name as the requesting node"
            )
        return ALLOWED

    def _resource_slice(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource:
            return Decision(False, "cannot authorize ResourceSlice subresources")
        verb = attributes.verb
        if verb == "create":
            return ALLOWED
        if verb in ("get", "update", "patch", "delete"):
            return self._related(node, attributes)
        if verb in ("watch", "list", "deletecollection"):
            if _selects(attributes.field_selector, "spec.nodeName", node):
                return ALLOWED
            return Decision(
                False,
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            )
        return Decision(
            False,
            "only the following verbs are allowed for a ResourceSlice: "
            "get, watch, list, create, update, patch, delete, deletecollection",
        )

    def _node(self, node: str, attributes: Attributes) -> Decision:
        verb, subresource = attributes.verb, attributes.subresource
        if subresource == "status" and verb in ("update", "patch"):
            return ALLOWED
        if subresource:
            return NO_OPINION
        if verb in ("create", "update", "patch"):
            return ALLOWED
        if verb not in _READ:
            return NO_OPINION
        if attributes.name == node:
            return ALLOWED
        whom = f"'{attributes.name}'" if attributes.name else "all nodes"
        return Decision(False, f"node '{node}' cannot read {whom}, only its own Node object")

    def _pod(self, node: str, attributes: Attributes) -> Decision:
        verb, subresource = attributes.verb, attributes.subresource
        if subresource:
            own_status = subresource == "status" and verb in ("update", "patch")
            eviction = subresource == "eviction" and verb == "create"
            return ALLOWED if own_status or eviction else NO_OPINION
        if verb == "get":
            return self._get_own(node, attributes)
        if verb in ("list", "watch"):
            if _selects(attributes.field_selector, "spec.nodeName", node):
                return ALLOWED
            if attributes.name:
                return self._related(node, attributes)
            return Decision(False, "can only list/watch pods with spec.nodeName field selector")
        return ALLOWED if verb in ("create", "delete") else NO_OPINION

    def _pod_certificate(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource:
            text = "nodes may not access the status subresource of PodCertificateRequests"
            return Decision(False, text)
        verb = attributes.verb
        if verb == "create":
            return ALLOWED
        if verb == "get":
            return self._related(node, attributes)
        if verb not in ("list", "watch"):
            return Decision(False, f"nodes may not {verb} podcertificaterequests")
        if _selects(attributes.field_selector, "spec.nodeName", node):
            return ALLOWED
        return Decision(
            False, "can only list/watch podcertificaterequests with nodeName field selector"
        )


def _no_opinion(node: str, attributes: Attributes) -> Decision:
    return NO_OPINION


def _selects(selector: str, field: str, value: str) -> bool:
    """Whether a field selector demands exactly this value."""
    for term in selector.split(","):
        name, equals, demanded = term.partition("=")
        if equals and name == field and demanded.removeprefix("=") == value:
            return True
    return False
