"""The objects that every cluster has, brought about at each start.

Namespaces, RBAC policy, system priority classes, the service CIDR and the authentication config map
are made here through the server's own pipeline; the ``kubernetes`` Service and its endpoints follow
once the server knows its address (``kubernetes_service.py``). Everything is idempotent: what exists
is kept, except that RBAC policy is brought up to date.
"""

from collections.abc import Collection, Sequence
from datetime import date

import orjson

from kybern.api.errors import Obj
from kybern.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    NAMESPACES,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_CIDRS,
)
from kybern.apiserver import health
from kybern.apiserver.authorization import bootstrap_policy
from kybern.apiserver.authorization.reconcile import reconcile_binding, reconcile_role
from kybern.apiserver.config import Config
from kybern.apiserver.loopback import Loopback
from kybern.component.clock import Clock

SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
_PRIORITY_CLASSES = {
    "system-node-critical": (
        2000001000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    "system-cluster-critical": (
        2000000000,
        "Used for system critical pods that must run in the cluster, but can be moved to another "
        "node if necessary.",
    ),
}
_TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
_READY = "Kubernetes default Service CIDR is ready"


async def bootstrap(
    loopback: Loopback,
    config: Config,
    clock: Clock,
    client_ca: str,
    front_proxy_ca: str,
    steps: health.StartSteps,
    gates: Collection[str] = (),
) -> None:
    """Make what is missing; the CAs are PEM texts, or empty where the server has none.

    ``gates`` are the feature gates that are on.
    """
    for name in SYSTEM_NAMESPACES:
        await loopback.ensure(NAMESPACES, {"metadata": {"name": name}})
    steps.done(health.NAMESPACES)
    await _policy(loopback, gates)
    steps.done(health.ROLES)
    for name, (value, description) in _PRIORITY_CLASSES.items():
        await loopback.ensure(
            PRIORITY_CLASSES,
            {"metadata": {"name": name}, "value": value, "description": description},
        )
    steps.done(health.PRIORITY_CLASSES)
    await _service_cidr(loopback, config, clock)
    steps.done(health.SERVICE_CIDR)
    await _authentication_config(loopback, config, client_ca, front_proxy_ca)
    steps.done(health.AUTHENTICATION_INFO)
    await _token_tracking(loopback, clock)
    steps.done(health.TOKEN_TRACKING)


async def _policy(loopback: Loopback, gates: Collection[str]) -> None:
    for role in bootstrap_policy.cluster_roles(gates):
        await reconcile_role(loopback, CLUSTER_ROLES, role)
    for role in bootstrap_policy.roles():
        await reconcile_role(loopback, ROLES, role)
    for binding in bootstrap_policy.cluster_role_bindings(gates):
        await reconcile_binding(loopback, CLUSTER_ROLE_BINDINGS, binding)
    for binding in bootstrap_policy.role_bindings():
        await reconcile_binding(loopback, ROLE_BINDINGS, binding)


async def _service_cidr(loopback: Loopback, config: Config, clock: Clock) -> None:
    cidrs = config.service_cluster_ip_range.split(",")
    condition = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": clock.timestamp(),
        "reason": "",
        "message": _READY,
    }

    def ready(found: Obj) -> Obj:
        conditions = (found.get("status") or {}).get("conditions") or []
        if any(held["type"] == "Ready" for held in conditions):
            return found
        return {**found, "status": {"conditions": [condition]}}

    wanted = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}}
    await loopback.keep(SERVICE_CIDRS, wanted, ready, "status")


async def _authentication_config(
    loopback: Loopback, config: Config, client_ca: str, front_proxy_ca: str
) -> None:
    """What aggregated servers read to trust the same clients and this server as their proxy."""
    data: dict[str, str] = {}
    if client_ca:
        data["client-ca-file"] = client_ca
    if front_proxy_ca:
        data |= {
            "requestheader-allowed-names": _words(config.requestheader_allowed_names),
            "requestheader-client-ca-file": front_proxy_ca,
            "requestheader-extra-headers-prefix": _words(config.requestheader_extra_headers_prefix),
            "requestheader-group-headers": _words(config.requestheader_group_headers),
            "requestheader-uid-headers": _words(config.requestheader_uid_headers),
            "requestheader-username-headers": _words(config.requestheader_username_headers),
        }
    if not data:
        return
    name = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
    await loopback.keep(
        CONFIG_MAPS,
        {"metadata": name, "data": data},
        lambda found: {**found, "data": {**found.get("data", {}), **data}},
    )


def _words(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()


async def _token_tracking(loopback: Loopback, clock: Clock) -> None:
    """Since when the last use of tokens in Secrets is noted, which their cleaner asks."""
    today = {"since": clock.timestamp()[:10]}
    name = {"name": _TRACKING, "namespace": "kube-system"}

    def dated(found: Obj) -> Obj:
        data = found.get("data") or {}
        try:
            date.fromisoformat(data.get("since", ""))
        except ValueError:
            return {**found, "data": {**data, **today}}
        return found

    await loopback.keep(CONFIG_MAPS, {"metadata": name, "data": today}, dated)
