"""The restricted checks of the Pod Security Standards: today's good practice for hardening."""

from kybern.api.errors import Obj
from kybern.apiserver.admission.pod_security_baseline import PROFILE_TYPES, seccomp_19
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

_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)


def but_windows(check: Check) -> Check:
    """The same check, except for pods that say they run on Windows."""

    def checked(metadata: Obj, spec: Obj) -> Finding | None:
        windows = (spec.get("os") or {}).get("name") == "windows"
        return None if windows else check(metadata, spec)

    return checked


def but_user_namespaces(check: Check) -> Check:
    """The same check, except for pods in a user namespace of their own."""

    def checked(metadata: Obj, spec: Obj) -> Finding | None:
        return None if user_namespace(spec) else check(metadata, spec)

    return checked


def privilege_escalation(metadata: Obj, spec: Obj) -> Finding | None:
    names = [
        c["name"]
        for c in containers(spec)
        if security(c).get("allowPrivilegeEscalation") is not False
    ]
    if not names:
        return None
    return Finding(
        "allowPrivilegeEscalation != false",
        f"{named(names)} must set securityContext.allowPrivilegeEscalation=false",
    )


def capabilities(metadata: Obj, spec: Obj) -> Finding | None:
    undropped, adding, added = [], [], set()
    for container in containers(spec):
        own = security(container).get("capabilities") or {}
        if "ALL" not in (own.get("drop") or []):
            undropped.append(container["name"])
        extra = set(own.get("add") or []) - {"NET_BIND_SERVICE"}
        if extra:
            adding.append(container["name"])
            added |= extra
    details = []
    if undropped:
        details.append(f'{named(undropped)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        details.append(
            f"{named(adding)} must not include {quoted(sorted(added))} in "
            "securityContext.capabilities.add"
        )
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


def volumes(metadata: Obj, spec: Obj) -> Finding | None:
    names, types = [], set()
    for volume in spec.get("volumes") or []:
        if any(volume.get(kind) is not None for kind in _VOLUMES):
            continue
        names.append(volume["name"])
        kinds = [key for key, value in volume.items() if key != "name" and value is not None]
        types.add(kinds[0] if kinds else "unknown")
    if not names:
        return None
    word = plural("restricted volume type", "restricted volume types", len(types))
    return Finding(
        "restricted volume types",
        f"{plural('volume', 'volumes', len(names))} {quoted(names)} "
        f"{plural('uses', 'use', len(names))} {word} {quoted(sorted(types))}",
    )


def run_as_non_root(metadata: Obj, spec: Obj) -> Finding | None:
    pod = security(spec).get("runAsNonRoot")
    own = {c["name"]: security(c).get("runAsNonRoot") for c in containers(spec)}
    refusing = [name for name, value in own.items() if value is False]
    reason = "runAsNonRoot != true"
    if pod is False or refusing:
        who = setters(pod is False, refusing)
        return Finding(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    silent = [name for name, value in own.items() if value is None]
    if pod is None and silent:
        return Finding(reason, f"pod or {named(silent)} must set securityContext.runAsNonRoot=true")
    return None


def run_as_user(metadata: Obj, spec: Obj) -> Finding | None:
    names = [c["name"] for c in containers(spec) if security(c).get("runAsUser") == 0]
    pod = security(spec).get("runAsUser") == 0
    if not pod and not names:
        return None
    return Finding("runAsUser=0", f"{setters(pod, names)} must not set runAsUser=0")


def seccomp(metadata: Obj, spec: Obj) -> Finding | None:
    found = seccomp_19(metadata, spec)
    pod = (security(spec).get("seccompProfile") or {}).get("type") in PROFILE_TYPES
    if found is not None or pod:
        return found
    silent = [c["name"] for c in containers(spec) if security(c).get("seccompProfile") is None]
    if not silent:
        return None
    return Finding(
        "seccompProfile",
        f"pod or {named(silent)} must set securityContext.seccompProfile.type to "
        '"RuntimeDefault" or "Localhost"',
    )
