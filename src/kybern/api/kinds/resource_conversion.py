"""Conversion of resource.k8s.io/v1beta1, where exact requests and devices have another form.

In v1beta1 a request's fields stand in the request itself, where v1 has them under ``exactly``, and
a device's stand under ``basic``, where v1 has them in the device itself. v1beta2 differs from v1 in
nothing.
"""

from kybern.api.errors import Obj

_EXACT = (
    "deviceClassName",
    "selectors",
    "allocationMode",
    "count",
    "adminAccess",
    "tolerations",
    "capacity",
)


def convert_claim(claim: Obj, api_version: str) -> Obj:
    return {**claim, "apiVersion": api_version, **_claim_spec(claim, api_version)}


def convert_template(template: Obj, api_version: str) -> Obj:
    converted = {**template, "apiVersion": api_version}
    if template.get("spec"):
        inner = _claim_spec(template["spec"], api_version)
        converted["spec"] = {**template["spec"], **inner}
    return converted


def _claim_spec(holder: Obj, api_version: str) -> Obj:
    """The ``spec`` of whatever holds one, as far as it names requests."""
    spec = holder.get("spec") or {}
    devices = spec.get("devices") or {}
    if not devices.get("requests"):
        return {}
    convert = _flat_request if _is_beta(api_version) else _nested_request
    requests = [convert(request) for request in devices["requests"]]
    return {"spec": {**spec, "devices": {**devices, "requests": requests}}}


def _flat_request(request: Obj) -> Obj:
    rest = {name: value for name, value in request.items() if name != "exactly"}
    return {"deviceClassName": "", **rest, **(request.get("exactly") or {})}


def _nested_request(request: Obj) -> Obj:
    exact = {name: request[name] for name in _EXACT if _is_set(request.get(name))}
    rest = {name: value for name, value in request.items() if name not in _EXACT}
    return {**rest, "exactly": exact} if exact else rest


def _is_set(value: object) -> bool:
    """Whether a field says anything: empty strings and zeros do not, a refusal does."""
    return value is False or bool(value)


def convert_slice(resource_slice: Obj, api_version: str) -> Obj:
    converted = {**resource_slice, "apiVersion": api_version}
    spec = resource_slice.get("spec") or {}
    if spec.get("devices"):
        convert = _basic_device if _is_beta(api_version) else _plain_device
        converted["spec"] = {**spec, "devices": [convert(one) for one in spec["devices"]]}
    return converted


def _basic_device(device: Obj) -> Obj:
    if "basic" in device:
        return device
    basic = {name: value for name, value in device.items() if name != "name"}
    return {"name": device.get("name", ""), "basic": basic}


def _plain_device(device: Obj) -> Obj:
    rest = {name: value for name, value in device.items() if name != "basic"}
    return {**rest, **(device.get("basic") or {})}


def _is_beta(api_version: str) -> bool:
    return api_version.endswith("/v1beta1")
