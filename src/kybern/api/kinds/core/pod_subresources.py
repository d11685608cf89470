"""What ``pods/ephemeralcontainers`` and ``pods/resize`` may write."""

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value
from kybern.api.kinds.core.pod_qos import qos_class
from kybern.api.kinds.strategy import Write
from kybern.api.validation.difference import difference
from kybern.api.validation.pod_spec import pod_spec

_MIRROR = "kubernetes.io/config.mirror"
_ONLY_AMOUNTS = "only cpu and memory resources are mutable"
_ONLY_AMOUNTS_OF_INIT = "only cpu and memory resources for init or sidecar containers are mutable"
_RESIZED = ("cpu", "memory")
_RESIZABLE = ("resources", "resizePolicy")


def count_generation(new: Obj, old: Obj) -> None:
    """A pod's generation counts the changes of its spec."""
    if new.get("spec") != old.get("spec"):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _keep_metadata_and_status(new: Obj, old: Obj) -> None:
    version = new["metadata"].get("resourceVersion")
    new["metadata"] = {**old["metadata"], "managedFields": new["metadata"].get("managedFields")}
    if new["metadata"]["managedFields"] is None:
        del new["metadata"]["managedFields"]
    if version:
        new["metadata"]["resourceVersion"] = version
    if "status" in old:
        new["status"] = old["status"]


def _only_ephemeral_containers(new: Obj, old: Obj) -> None:
    added = new.get("spec", {}).get("ephemeralContainers")
    new["spec"] = {name: v for name, v in old["spec"].items() if name != "ephemeralContainers"}
    if added:
        new["spec"]["ephemeralContainers"] = added
    _keep_metadata_and_status(new, old)
    count_generation(new, old)


def _check_ephemeral_containers(new: Obj, old: Obj) -> list[FieldError]:
    path = "spec.ephemeralContainers"
    held = new["spec"].get("ephemeralContainers") or []
    errors = pod_spec(new["spec"], "spec", is_pod=True)
    kept = {container["name"]: container for container in held if container.get("name")}
    for before in old["spec"].get("ephemeralContainers") or ():
        after = kept.get(before["name"])
        if after is None:
            text = f'existing ephemeral containers "{before["name"]}" may not be removed\n'
            errors.append(field_forbidden(path, text))
        elif after != before:
            text = f'existing ephemeral containers "{before["name"]}" may not be changed\n'
            text += difference(before, after)
            errors.append(field_forbidden(path, text))
    return errors


def _only_resources(new: Obj, old: Obj) -> None:
    wanted = new.get("spec") or {}
    spec = dict(old["spec"])
    for group in ("containers", "initContainers"):
        before, after = old["spec"].get(group) or [], wanted.get(group) or []
        if len(before) != len(after):
            return
        if before:
            pairs = zip(before, after, strict=True)
            spec[group] = [_resized(container, change) for container, change in pairs]
    if wanted.get("resources") is not None:
        spec["resources"] = wanted["resources"]
    new["spec"] = spec
    _keep_metadata_and_status(new, old)
    count_generation(new, old)


def _resized(container: Obj, change: Obj) -> Obj:
    if container.get("name") != change.get("name"):
        return change
    resized = {name: value for name, value in container.items() if name not in _RESIZABLE}
    return resized | {name: change[name] for name in _RESIZABLE if name in change}


def _check_resize(new: Obj, old: Obj) -> list[FieldError]:
    errors = pod_spec(new["spec"], "spec", is_pod=True)
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [field_forbidden("[]", "static pods cannot be resized")]
    if qos_class(new) != (old.get("status") or {}).get("qosClass", qos_class(old)):
        text = "Pod QOS Class may not change as a result of resizing"
        shown = (new.get("status") or {}).get("qosClass", "")
        errors.append(invalid_value("spec", shown, text))
    moved = _check_order(new, old)
    if moved:
        return errors + moved
    for group in ("initContainers", "containers"):
        pairs = zip(old["spec"].get(group) or (), new["spec"].get(group) or (), strict=True)
        for i, (before, after) in enumerate(pairs):
            errors += _check_kept(before, after, f"spec.{group}[{i}].resources")
            if group == "initContainers" and _all_but_amounts(before) != _all_but_amounts(after):
                errors.append(field_forbidden(f"spec.{group}[{i}]", _ONLY_AMOUNTS_OF_INIT))
    containers = [map(_all_but_amounts, pod["spec"]["containers"]) for pod in (old, new)]
    if any(before != after for before, after in zip(*containers, strict=True)):
        errors.append(field_forbidden("spec", _ONLY_AMOUNTS))
    return errors


def _check_order(new: Obj, old: Obj) -> list[FieldError]:
    """A resize finds its containers by their places."""
    errors: list[FieldError] = []
    for group in ("containers", "initContainers"):
        before, after = old["spec"].get(group) or [], new["spec"].get(group) or []
        if len(before) != len(after):
            text = f"{group} may not be added or removed on resize"
            errors.append(field_forbidden(f"spec.{group}", text))
            continue
        for i, (container, change) in enumerate(zip(before, after, strict=True)):
            if container.get("name") != change.get("name"):
                text = f"{group} may not be renamed or reordered on resize"
                errors.append(field_forbidden(f"spec.{group}[{i}].name", text))
    return errors


def _check_kept(before: Obj, after: Obj, path: str) -> list[FieldError]:
    """CPU and memory may be other amounts; none may go."""
    had, has = before.get("resources") or {}, after.get("resources") or {}
    return [
        field_forbidden(f"{path}.{group}", f"resource {group} cannot be removed")
        for group in ("requests", "limits")
        if (had.get(group) or {}).keys() - (has.get(group) or {}).keys()
    ]


def _all_but_amounts(container: Obj) -> Obj:
    resources = container.get("resources") or {}
    amounts = {
        group: {k: v for k, v in (resources.get(group) or {}).items() if k not in _RESIZED}
        for group in ("requests", "limits")
    }
    return {**container, "resources": {**resources, **amounts}}


POD_WRITES = {
    "ephemeralcontainers": Write(_only_ephemeral_containers, _check_ephemeral_containers),
    "resize": Write(_only_resources, _check_resize),
}
