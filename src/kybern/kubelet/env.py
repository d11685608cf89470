"""A container's environment: its own variables, those of ConfigMaps and Secrets, and services.

Later sources win over earlier ones, and ``$(NAME)`` in a value means a variable defined before it.
Missing references raise :class:`ConfigError`, which shows as CreateContainerConfigError.
"""

from collections.abc import Callable, Iterable, Mapping

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.kubelet.objects import Objects
from kybern.kubelet.pods import spec


class ConfigError(Exception):
    """A container's configuration cannot be made from what it refers to."""


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """Replace ``$(NAME)`` where ``lookup`` knows it; ``$$`` is a literal dollar sign."""
    result: list[str] = []
    position = 0
    while (at := text.find("$", position)) >= 0:
        result.append(text[position:at])
        following = text[at + 1 : at + 2]
        end = text.find(")", at + 2) if following == "(" else -1
        if following == "$":
            result.append("$")
            position = at + 2
        elif following == "(" and end >= 0:
            name = text[at + 2 : end]
            value = lookup(name)
            result.append(f"$({name})" if value is None else value)
            position = end + 1
        else:
            # A dollar sign before anything else, or an unclosed reference, stands for itself.
            result.append("$" + following)
            position = at + 1 + len(following)
    result.append(text[position:])
    return "".join(result)


def service_variables(services: Iterable[Obj]) -> dict[str, str]:
    """The docker-links style variables that name every service's address."""
    found: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP") or ""
        ports = service["spec"].get("ports") or []
        if address in ("", "None") or not ports:
            continue
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        found[f"{prefix}_SERVICE_HOST"] = address
        found[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if name := port.get("name"):
                key = name.upper().replace("-", "_")
                found[f"{prefix}_SERVICE_PORT_{key}"] = str(port["port"])
        shown = f"[{address}]" if ":" in address else address
        for index, port in enumerate(ports):
            protocol = port.get("protocol", "TCP")
            url = f"{protocol.lower()}://{shown}:{port['port']}"
            if index == 0:
                found[f"{prefix}_PORT"] = url
            start = f"{prefix}_PORT_{port['port']}_{protocol}"
            found[start] = url
            found[f"{start}_PROTO"] = protocol.lower()
            found[f"{start}_PORT"] = str(port["port"])
            found[f"{start}_ADDR"] = address
    return found


async def environment(
    pod: Obj, container: Obj, objects: Objects, facts: Mapping[str, str], allocatable: Obj
) -> dict[str, str]:
    """All variables of a container; ``facts`` are the downward fields known only to the node."""
    namespace = pod["metadata"]["namespace"]
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        result.update(await _from_source(source, namespace, objects))
    services = service_variables(
        objects.services(namespace, bool(pod["spec"].get("enableServiceLinks", True)))
    )

    def lookup(name: str) -> str | None:
        return result.get(name, services.get(name))

    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            value = await _from_reference(variable, pod, container, objects, facts, allocatable)
            if value is None:
                continue
        else:
            value = expand(variable.get("value") or "", lookup)
        result[variable["name"]] = value
    return {**services, **result}


async def _from_source(source: Obj, namespace: str, objects: Objects) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    if reference := source.get("configMapRef"):
        found = await objects.config_map(namespace, reference["name"])
        if found is None and not reference.get("optional"):
            raise ConfigError(f'configmap "{reference["name"]}" not found')
        return {prefix + key: value for key, value in ((found or {}).get("data") or {}).items()}
    reference = source.get("secretRef") or {}
    data = await objects.secret_data(namespace, reference["name"])
    if data is None and not reference.get("optional"):
        raise ConfigError(f'secret "{reference["name"]}" not found')
    return {prefix + key: value.decode() for key, value in (data or {}).items()}


async def _from_reference(
    variable: Obj,
    pod: Obj,
    container: Obj,
    objects: Objects,
    facts: Mapping[str, str],
    allocatable: Obj,
) -> str | None:
    source = variable["valueFrom"]
    namespace = pod["metadata"]["namespace"]
    if field := source.get("fieldRef"):
        return field_value(pod, field["fieldPath"], facts)
    if resource := source.get("resourceFieldRef"):
        named = resource.get("containerName") or container["name"]
        return resource_value(spec.find_container(pod, named) or container, resource, allocatable)
    if reference := source.get("configMapKeyRef"):
        found = await objects.config_map(namespace, reference["name"])
        data: Mapping[str, str] | None = None if found is None else found.get("data") or {}
        return _keyed(data, reference, "configmap", namespace)
    reference = source["secretKeyRef"]
    secret = await objects.secret_data(namespace, reference["name"])
    texts = None if secret is None else {k: v.decode() for k, v in secret.items()}
    return _keyed(texts, reference, "secret", namespace)


def _keyed(data: Mapping[str, str] | None, reference: Obj, kind: str, namespace: str) -> str | None:
    name, key = reference["name"], reference["key"]
    if data is not None and key in data:
        return data[key]
    if reference.get("optional"):
        return None
    if data is None:
        raise ConfigError(f'{kind} "{name}" not found')
    shown = "ConfigMap" if kind == "configmap" else "Secret"
    raise ConfigError(f"couldn't find key {key} in {shown} {namespace}/{name}")


def field_value(pod: Obj, path: str, facts: Mapping[str, str]) -> str:
    """A downward API field; maps are rendered as files show them (``key="value"`` lines)."""
    if path in facts:
        return facts[path]
    meta = pod["metadata"]
    simple = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
    }
    if path in simple:
        return simple[path]
    field, _, key = path.partition("[")
    entries: Mapping[str, str] = meta.get(field.removeprefix("metadata.")) or {}
    if field not in ("metadata.labels", "metadata.annotations"):
        raise ConfigError(f"unsupported fieldPath: {path}")
    if key:
        return entries.get(key.rstrip("]").strip("'\""), "")
    return "\n".join(f'{name}="{_quoted(entries[name])}"' for name in sorted(entries))


def _quoted(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "".join(escapes.get(char, char) for char in value)


def resource_value(container: Obj, selector: Obj, allocatable: Obj) -> str:
    """A request or limit in units of the divisor, rounded up; a missing limit is the node's."""
    kind, _, resource = selector["resource"].partition(".")
    declared = container.get("resources") or {}
    found = (declared.get(kind) or {}).get(resource)
    if found is None and kind == "limits" and resource in ("cpu", "memory", "ephemeral-storage"):
        found = allocatable.get(resource)
    if found is None and kind == "requests":
        found = (declared.get("limits") or {}).get(resource)
    divisor = Quantity.parse(selector.get("divisor") or "1").milli() or 1000
    return str(-(-Quantity.parse(found or "0").milli() // divisor))
