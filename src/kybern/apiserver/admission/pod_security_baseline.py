"""The baseline checks of the Pod Security Standards: no known way to the node."""

from collections.abc import Callable

from kybern.api.errors import Obj
from kybern.apiserver.admission.pod_security_words import (
    Check,
    Finding,
    containers,
    named,
    plural,
    quoted,
    security,
    setters,
    user_namespace,
)

_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    }
)
_SYSCTLS_27 = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
PROFILE_TYPES = ("RuntimeDefault", "Localhost")


def app_armor(metadata: Obj, spec: Obj) -> Finding | None:
    def bad(holder: Obj) -> str | None:
        profile = security(holder).get("appArmorProfile")
        if profile is None or profile.get("type") in PROFILE_TYPES:
            return None
        return profile.get("type", "")

    pod, names, values = _bad_values(spec, bad)
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(_APP_ARMOR)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    who = [setters(pod, names)] if pod or names else []
    if annotations:
        who.append(plural("annotation", "annotations", len(annotations)))
    if not who:
        return None
    values += annotations
    reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", len(values))
    return Finding(
        reason, f"{' and '.join(who)} must not set AppArmor profile type to {quoted(values)}"
    )


def _bad_values(spec: Obj, bad: Callable[[Obj], str | None]) -> tuple[bool, list[str], list[str]]:
    """Whether the pod and which containers hold a bad value, and the values, sorted."""
    values = {found for holder in (spec, *containers(spec)) if (found := bad(holder)) is not None}
    names = [c["name"] for c in containers(spec) if bad(c) is not None]
    return bad(spec) is not None, names, sorted(values)


def capabilities(metadata: Obj, spec: Obj) -> Finding | None:
    names, added = [], set()
    for container in containers(spec):
        extra = set((security(container).get("capabilities") or {}).get("add") or [])
        extra -= _CAPABILITIES
        if extra:
            names.append(container["name"])
            added |= extra
    if not names:
        return None
    detail = f"{named(names)} must not include {quoted(sorted(added))} in "
    return Finding("non-default capabilities", detail + "securityContext.capabilities.add")


def host_namespaces(metadata: Obj, spec: Obj) -> Finding | None:
    used = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return Finding("host namespaces", ", ".join(used)) if used else None


def host_path_volumes(metadata: Obj, spec: Obj) -> Finding | None:
    names = [v["name"] for v in spec.get("volumes") or [] if v.get("hostPath") is not None]
    if not names:
        return None
    return Finding("hostPath volumes", f"{plural('volume', 'volumes', len(names))} {quoted(names)}")


def host_ports(metadata: Obj, spec: Obj) -> Finding | None:
    names, ports = [], set()
    for container in containers(spec):
        used = {str(p["hostPort"]) for p in container.get("ports") or [] if p.get("hostPort")}
        if used:
            names.append(container["name"])
            ports |= used
    if not names:
        return None
    uses = plural("uses", "use", len(names))
    word = plural("hostPort", "hostPorts", len(ports))
    return Finding("hostPort", f"{named(names)} {uses} {word} {', '.join(sorted(ports))}")


def host_probes(metadata: Obj, spec: Obj) -> Finding | None:
    names, hosts = set(), set()
    for container in containers(spec):
        handlers = [container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")]
        lifecycle = container.get("lifecycle") or {}
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        found = {
            action["host"]
            for handler in handlers
            if handler
            for kind in ("httpGet", "tcpSocket")
            if (action := handler.get(kind) or {}).get("host")
        }
        if found:
            names.add(container["name"])
            hosts |= found
    if not names:
        return None
    uses = plural("uses", "use", len(names))
    word = plural("probe or lifecycle host", "probe or lifecycle hosts", len(hosts))
    return Finding(
        "probe or lifecycle host",
        f"{named(sorted(names))} {uses} {word} {quoted(sorted(hosts))}",
    )


def privileged(metadata: Obj, spec: Obj) -> Finding | None:
    names = [c["name"] for c in containers(spec) if security(c).get("privileged")]
    if not names:
        return None
    return Finding("privileged", f"{named(names)} must not set securityContext.privileged=true")


def proc_mount(metadata: Obj, spec: Obj) -> Finding | None:
    bad = {
        c["name"]: security(c)["procMount"]
        for c in containers(spec)
        if security(c).get("procMount") not in (None, "Default")
    }
    if not bad:
        return None
    values = quoted(sorted(set(bad.values())))
    detail = f"{named(list(bad))} must not set securityContext.procMount to {values}"
    return Finding("procMount", detail)


def proc_mount_35(metadata: Obj, spec: Obj) -> Finding | None:
    return None if user_namespace(spec) else proc_mount(metadata, spec)


def se_linux(metadata: Obj, spec: Obj) -> Finding | None:
    return _se_linux(spec, _SELINUX_TYPES)


def se_linux_31(metadata: Obj, spec: Obj) -> Finding | None:
    return _se_linux(spec, _SELINUX_TYPES | {"container_engine_t"})


def _se_linux(spec: Obj, allowed: frozenset[str]) -> Finding | None:
    def bad(holder: Obj) -> bool:
        options = security(holder).get("seLinuxOptions") or {}
        wrong_type = options.get("type", "") not in allowed
        return wrong_type or bool(options.get("user")) or bool(options.get("role"))

    names = [c["name"] for c in containers(spec) if bad(c)]
    if not names and not bad(spec):
        return None
    options = [security(h).get("seLinuxOptions") or {} for h in (spec, *containers(spec))]
    types = sorted({option.get("type", "") for option in options} - allowed)
    data = [f"{plural('type', 'types', len(types))} {quoted(types)}"] if types else []
    for what in ("user", "role"):
        if any(option.get(what) for option in options):
            data.append(f"{what} may not be set")
    return Finding(
        "seLinuxOptions",
        f"{setters(bad(spec), names)} set forbidden securityContext.seLinuxOptions: "
        + "; ".join(data),
    )


def seccomp(metadata: Obj, spec: Obj) -> Finding | None:
    annotations = metadata.get("annotations") or {}
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + c["name"] for c in containers(spec))]
    allowed = ("runtime/default", "docker/default")
    forbidden = sorted(
        {
            f'{key}="{annotations[key]}"'
            for key in keys
            if key in annotations
            and annotations[key] not in allowed
            and not annotations[key].startswith("localhost/")
        }
    )
    if not forbidden:
        return None
    word = plural("annotation", "annotations", len(forbidden))
    return Finding("seccompProfile", f"forbidden {word} {', '.join(forbidden)}")


def seccomp_19(metadata: Obj, spec: Obj) -> Finding | None:
    def bad(holder: Obj) -> str | None:
        profile = security(holder).get("seccompProfile")
        if profile is None or profile.get("type") in PROFILE_TYPES:
            return None
        return profile.get("type", "")

    pod, names, values = _bad_values(spec, bad)
    if not pod and not names:
        return None
    return Finding(
        "seccompProfile",
        f"{setters(pod, names)} must not set securityContext.seccompProfile.type to "
        f"{quoted(values)}",
    )


def _sysctls(allowed: frozenset[str]) -> Check:
    def check(metadata: Obj, spec: Obj) -> Finding | None:
        names = [sysctl["name"] for sysctl in security(spec).get("sysctls") or []]
        forbidden = [name for name in names if name not in allowed]
        return Finding("forbidden sysctls", ", ".join(forbidden)) if forbidden else None

    return check


sysctls, sysctls_27 = _sysctls(_SYSCTLS), _sysctls(_SYSCTLS_27)
sysctls_29, sysctls_32 = _sysctls(_SYSCTLS_29), _sysctls(_SYSCTLS_32)


def windows_host_process(metadata: Obj, spec: Obj) -> Finding | None:
    def bad(holder: Obj) -> bool:
        return bool((security(holder).get("windowsOptions") or {}).get("hostProcess"))

    names = [c["name"] for c in containers(spec) if bad(c)]
    if not names and not bad(spec):
        return None
    return Finding(
        "hostProcess",
        f"{setters(bad(spec), names)} must not set securityContext.windowsOptions.hostProcess=true",
    )
