"""Warnings about pod specs, for pods and for the templates of workloads."""

from kybern.api.errors import Obj
from kybern.api.validation.volume_path_warnings import volume_path_warnings

_OLD_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
}


def template_warnings(template: Obj, path: str = "spec.template") -> list[str]:
    """Warnings about a workload's pod template."""
    return pod_spec_warnings(template.get("spec") or {}, template.get("metadata") or {}, f"{path}.")


def pod_spec_warnings(spec: Obj, meta: Obj, prefix: str) -> list[str]:
    """``prefix`` is empty for a pod, and ends in a dot for a template."""
    path = f"{prefix}spec"
    warnings: list[str] = []
    for key in sorted(spec.get("nodeSelector") or ()):
        if key in _OLD_NODE_LABELS:
            warnings.append(f"{path}.nodeSelector[{key}]: {_OLD_NODE_LABELS[key]}")
    warnings += _repeated_secrets(spec, path)
    for i, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if not reference.get("name"):
            warnings.append(
                f"{path}.imagePullSecrets[{i}].name: invalid empty name "
                f"{_quoted(reference.get('name', ''))}"
            )
    warnings += _volumes(spec, path)
    warnings += volume_path_warnings(spec.get("volumes") or ())
    warnings += _fractional_bytes(spec, path)
    warnings += _duplicate_env(spec, path)
    warnings += _ports(spec, path)
    return warnings


def _quoted(text: str) -> str:
    return f'"{text}"'


def _repeated_secrets(spec: Obj, path: str) -> list[str]:
    names = [secret.get("name", "") for secret in spec.get("imagePullSecrets") or ()]
    return [
        f"{path}.imagePullSecrets[{i}].name: duplicate name {_quoted(name)}"
        for i, name in enumerate(names)
        if name in names[:i]
    ]


def _volumes(spec: Obj, path: str) -> list[str]:
    warnings = []
    for i, volume in enumerate(spec.get("volumes") or ()):
        at = f"{path}.volumes[{i}]"
        if "gitRepo" in volume:
            warnings.append(f"{at}.gitRepo: deprecated in v1.11, and disabled by default in v1.33+")
        if "glusterfs" in volume:
            warnings.append(
                f"{at}.glusterfs: deprecated in v1.25, this feature will be completely removed"
            )
        if "scaleIO" in volume:
            warnings.append(f"{at}.scaleIO: deprecated in v1.16, non-functional in v1.22+")
        if "storageos" in volume:
            warnings.append(f"{at}.storageOS: deprecated in v1.22, non-functional in v1.25+")
    return warnings


def _fractional_bytes(spec: Obj, path: str) -> list[str]:
    warnings = []
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or ()):
            resources = container.get("resources") or {}
            for kind in ("limits", "requests"):
                for name in ("memory", "ephemeral-storage"):
                    amount = (resources.get(kind) or {}).get(name)
                    if isinstance(amount, str) and amount.endswith("m"):
                        warnings.append(
                            f"{path}.{group}[{i}].resources.{kind}[{name}]: fractional byte value "
                            f'"{amount}" is invalid, must be an integer'
                        )
    return warnings


def _duplicate_env(spec: Obj, path: str) -> list[str]:
    warnings = []
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or ()):
            first: dict[str, int] = {}
            for j, variable in enumerate(container.get("env") or ()):
                name = variable.get("name", "")
                if name in first:
                    warnings.append(
                        f"{path}.{group}[{i}].env[{j}]: hides previous definition of "
                        f'"{name}", which may be dropped when using apply'
                    )
                first.setdefault(name, j)
    return warnings


def _ports(spec: Obj, path: str) -> list[str]:
    warnings = []
    for i, container in enumerate(spec.get("containers") or ()):
        seen: dict[tuple[object, ...], int] = {}
        for j, port in enumerate(container.get("ports") or ()):
            key = (
                port.get("containerPort"),
                port.get("protocol"),
                port.get("hostIP"),
                port.get("hostPort"),
            )
            if key in seen:
                earlier = f"{path}.containers[{i}].ports[{seen[key]}]"
                warnings.append(
                    f"{path}.containers[{i}].ports[{j}]: duplicate port definition with {earlier}"
                )
            else:
                seen[key] = j
    return warnings
