"""Validation of the containers of a pod spec: regular, init and ephemeral ones."""

from typing import NamedTuple

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    field_not_found,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.environment import env, env_from
from kybern.api.validation.fields import dns_label, one_of
from kybern.api.validation.mounts import mounts_and_devices
from kybern.api.validation.names import is_port_name, is_port_number
from kybern.api.validation.probes import lifecycle, probes
from kybern.api.validation.resources import container_resources
from kybern.api.validation.restart_rules import resize_policy, restart_policy
from kybern.api.validation.security import security_context

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_EPHEMERAL_FIELDS = frozenset(
    {
        "name",
        "image",
        "command",
        "args",
        "workingDir",
        "envFrom",
        "env",
        "volumeMounts",
        "volumeDevices",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "securityContext",
        "stdin",
        "stdinOnce",
        "tty",
        "targetContainerName",
    }
)


class PodFacts(NamedTuple):
    """What the check of a container has to know about its pod."""

    volumes: dict[str, Obj]
    claim_names: set[str]
    grace: int | None
    restart_policy: str
    host_users: bool
    os: Obj | None


def facts_of(spec: Obj, volumes: dict[str, Obj]) -> PodFacts:
    claims = {claim.get("name", "") for claim in spec.get("resourceClaims") or ()}
    return PodFacts(
        volumes,
        claims,
        spec.get("terminationGracePeriodSeconds"),
        spec.get("restartPolicy", ""),
        spec.get("hostUsers") is not False,
        spec.get("os"),
    )


def containers(held: list[Obj], pod: PodFacts, path: str) -> list[FieldError]:
    """``spec.containers``."""
    if not held:
        return [required(path)]
    errors: list[FieldError] = []
    names: set[str] = set()
    for i, container in enumerate(held):
        at = f"{path}[{i}]"
        errors += _common(container, pod, at)
        name = container.get("name", "")
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)
        errors += _running(container, pod, at)
        errors += restart_policy(container, at)
    return errors + _host_port_conflicts(held, path)


def init_containers(
    held: list[Obj], regular: list[Obj], pod: PodFacts, path: str
) -> list[FieldError]:
    """``spec.initContainers``; their names may not be those of regular containers."""
    errors: list[FieldError] = []
    names = {container.get("name", "") for container in regular}
    for i, container in enumerate(held):
        at = f"{path}[{i}]"
        errors += _common(container, pod, at)
        errors += restart_policy(container, at)
        name = container.get("name", "")
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        elif name:
            names.add(name)
        errors += _host_port_conflicts([container], path)
        if container.get("restartPolicy") == "Always":
            errors += _running(container, pod, at)
            continue
        for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(field) is not None:
                errors.append(field_forbidden(f"{at}.{field}", _ONLY_SIDECARS))
        for j, policy in enumerate(container.get("resizePolicy") or ()):
            if policy.get("restartPolicy") == "RestartContainer":
                text = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                where = f"{at}.resizePolicy[{j}].restartPolicy"
                errors.append(invalid_value(where, "RestartContainer", text))
    return errors


def ephemeral_containers(held: list[Obj], spec: Obj, pod: PodFacts, path: str) -> list[FieldError]:
    """``spec.ephemeralContainers``, which can do little more than run."""
    errors: list[FieldError] = []
    groups = ("containers", "initContainers")
    others = {c.get("name", "") for group in groups for c in spec.get(group) or ()}
    names = set(others)
    for i, container in enumerate(held):
        at, name = f"{path}[{i}]", container.get("name", "")
        errors += _common(container, pod, at)
        errors += image_spaces([container], path, first=i)
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in others:
            errors.append(field_not_found(f"{at}.targetContainerName", target))
        for field, value in container.items():
            if field not in _EPHEMERAL_FIELDS and value:
                errors.append(field_forbidden(f"{at}.{field}", _NOT_EPHEMERAL))
        for j, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    where = f"{at}.volumeMounts[{j}].{field}"
                    errors.append(field_forbidden(where, _NOT_EPHEMERAL))
    return errors


def image_spaces(held: list[Obj], path: str, first: int = 0) -> list[FieldError]:
    """Pods, unlike templates, may not have spaces around an image's name."""
    errors: list[FieldError] = []
    for i, container in enumerate(held):
        image = container.get("image", "")
        if image != image.strip():
            text = "must not have leading or trailing whitespace"
            errors.append(invalid_value(f"{path}[{first + i}].image", image, text))
    return errors


def _common(container: Obj, pod: PodFacts, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = container.get("name")
    errors += dns_label(name, f"{path}.name") if name else [required(f"{path}.name")]
    if not container.get("image"):
        errors.append(required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy")
    errors += one_of(policy, MESSAGE_POLICIES, f"{path}.terminationMessagePolicy")
    if container.get("ports"):
        errors += _ports(container["ports"], f"{path}.ports")
    if container.get("env"):
        errors += env(container["env"], f"{path}.env")
    if container.get("envFrom"):
        errors += env_from(container["envFrom"], f"{path}.envFrom")
    errors += mounts_and_devices(container, pod.volumes, path)
    errors += one_of(container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy")
    resources = container.get("resources")
    if resources:
        errors += container_resources(resources, pod.claim_names, f"{path}.resources")
    if container.get("resizePolicy"):
        at = f"{path}.resizePolicy"
        errors += resize_policy(container["resizePolicy"], pod.restart_policy, at)
    context = container.get("securityContext")
    if context:
        errors += security_context(context, pod.host_users, f"{path}.securityContext")
    return errors


def _running(container: Obj, pod: PodFacts, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if container.get("lifecycle") is not None:
        errors += lifecycle(container["lifecycle"], pod.grace, pod.os, f"{path}.lifecycle")
    return errors + probes(container, pod.grace, path)


def _ports(ports: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for i, port in enumerate(ports):
        at, name = f"{path}[{i}]", port.get("name")
        if name:
            messages = is_port_name(name)
            errors += [invalid_value(f"{at}.name", name, message) for message in messages]
            if not messages and name in names:
                errors.append(duplicate(f"{at}.name", name))
            names.add(name)
        number = port.get("containerPort")
        if not number:
            errors.append(required(f"{at}.containerPort"))
        else:
            for message in is_port_number(number):
                errors.append(invalid_value(f"{at}.containerPort", number, message))
        host_port = port.get("hostPort")
        if host_port:
            for message in is_port_number(host_port):
                errors.append(invalid_value(f"{at}.hostPort", host_port, message))
        protocol = port.get("protocol")
        if not protocol:
            errors.append(required(f"{at}.protocol"))
        elif protocol not in PROTOCOLS:
            errors.append(not_supported(f"{at}.protocol", protocol, PROTOCOLS))
    return errors


def _host_port_conflicts(held: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[str] = set()
    for i, container in enumerate(held):
        for j, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort")
            if not number:
                continue
            shown = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{number}"
            if shown in taken:
                errors.append(duplicate(f"{path}[{i}].ports[{j}].hostPort", shown))
            taken.add(shown)
    return errors
