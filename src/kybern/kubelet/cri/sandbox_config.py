"""A pod as the runtime's PodSandboxConfig."""

from typing import Any

from kybern.api.errors import Obj
from kybern.kubelet.admission.sysctls import dotted
from kybern.kubelet.cri import labels
from kybern.kubelet.cri.client import cri
from kybern.kubelet.cri.security import namespace_options, seccomp_profile
from kybern.kubelet.network_files import DnsConfig
from kybern.kubelet.pods import spec


def sandbox_config(
    pod: Obj,
    attempt: int,
    hostname: str,
    log_directory: str,
    dns: DnsConfig,
    cgroup_parent: str,
    users: Any = None,
) -> Any:
    """The config of one attempt; the same config goes with every container created in it.

    ``users`` is the message of the pod's user namespace.
    """
    meta = pod["metadata"]
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=meta["name"], uid=meta["uid"], namespace=meta["namespace"], attempt=attempt
        ),
        # The runtime refuses a host name where the pod shares the host's UTS namespace.
        hostname="" if spec.host_network(pod) else hostname,
        log_directory=log_directory,
        dns_config=cri.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options),
        labels={
            **(meta.get("labels") or {}),
            labels.POD_NAME: meta["name"],
            labels.POD_NAMESPACE: meta["namespace"],
            labels.POD_UID: meta["uid"],
        },
        annotations=meta.get("annotations") or {},
        linux=_linux(pod, cgroup_parent, users),
    )
    for container in (*spec.init_containers(pod), *spec.containers(pod)):
        for port in container.get("ports") or ():
            config.port_mappings.append(
                cri.PortMapping(
                    protocol=_protocol(port),
                    container_port=port["containerPort"],
                    host_port=port.get("hostPort") or 0,
                    host_ip=port.get("hostIP") or "",
                )
            )
    return config


def _protocol(port: Obj) -> int:
    return {"TCP": cri.TCP, "UDP": cri.UDP, "SCTP": cri.SCTP}[port.get("protocol", "TCP")]


def _linux(pod: Obj, cgroup_parent: str, users: Any) -> Any:
    context = pod["spec"].get("securityContext") or {}
    security = cri.LinuxSandboxSecurityContext(
        namespace_options=namespace_options(pod),
        privileged=any(
            (c.get("securityContext") or {}).get("privileged") for c in spec.all_containers(pod)
        ),
        seccomp=seccomp_profile({"seccompProfile": {"type": "RuntimeDefault"}}),
        supplemental_groups=context.get("supplementalGroups") or [],
    )
    if users is not None:
        security.namespace_options.userns_options.CopyFrom(users)
    if context.get("fsGroup") is not None:
        security.supplemental_groups.append(context["fsGroup"])
    if context.get("runAsUser") is not None:
        security.run_as_user.value = context["runAsUser"]
    if context.get("runAsGroup") is not None and context.get("runAsUser") is not None:
        security.run_as_group.value = context["runAsGroup"]
    sysctls = {dotted(sysctl["name"]): sysctl["value"] for sysctl in context.get("sysctls") or ()}
    return cri.LinuxPodSandboxConfig(
        cgroup_parent=cgroup_parent, security_context=security, sysctls=sysctls
    )
