"""APIService, which puts an aggregated server behind the API."""

from kybern.api.errors import FieldError, Obj, invalid_value, not_supported, required
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import condition
from kybern.api.validation.fields import dns_subdomain, named
from kybern.api.validation.names import between, is_dns1035_label, is_path_segment


def _default(service: Obj) -> None:
    reference = (service.get("spec") or {}).get("service")
    if reference is not None and reference.get("port") is None:
        reference["port"] = 443


def _create(service: Obj) -> None:
    """What the server answers itself is available at once."""
    service["status"] = {}
    if (service.get("spec") or {}).get("service") is None:
        local = {
            "type": "Available",
            "status": "True",
            "reason": "Local",
            "message": "Local APIServices are always available",
        }
        created = service["metadata"].get("creationTimestamp")
        if created:
            local["lastTransitionTime"] = created
        service["status"] = {"conditions": [local]}


def _service(service: Obj, now: float) -> str:
    reference = (service.get("spec") or {}).get("service")
    if reference is None:
        return "Local"
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}"


def _available(service: Obj, now: float) -> str:
    available = condition(service, "Available")
    if available is None:
        return "Unknown"
    if available.get("status") == "True":
        return "True"
    return f"{available.get('status', '')} ({available.get('reason', '')})"


def _check(service: Obj) -> list[FieldError]:
    spec, name = service.get("spec") or {}, service["metadata"].get("name", "")
    version, group = spec.get("version", ""), spec.get("group", "")
    errors: list[FieldError] = []
    if name and not is_path_segment(name) and name != f"{version}.{group}":
        text = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
        errors.append(invalid_value("metadata.name", name, text))
    if not group and version != "v1":
        text = "only v1 may have an empty group and it better be legacy kube"
        errors.append(required("spec.group", text))
    if group:
        errors += dns_subdomain(group, "spec.group")
    errors += named(is_dns1035_label(version), version, "spec.version")
    for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        value = spec.get(field, 0)
        if not 0 < value <= most:
            text = f"must be positive and less than {most}"
            errors.append(invalid_value(f"spec.{field}", value, text))
    reference, bundle = spec.get("service"), spec.get("caBundle")
    skips = bool(spec.get("insecureSkipTLSVerify"))
    if reference is None:
        if bundle:
            text = "local APIServices may not have a caBundle"
            errors.append(invalid_value("spec.caBundle", f"{len(bundle)} bytes", text))
        if skips:
            text = "local APIServices may not have insecureSkipTLSVerify"
            errors.append(invalid_value("spec.insecureSkipTLSVerify", True, text))
        return errors
    for field in ("namespace", "name"):
        if not reference.get(field):
            errors.append(required(f"spec.service.{field}"))
    port = reference.get("port", 0)
    if not 1 <= port <= 65535:
        text = f"port is not valid: {between(1, 65535)}"
        errors.append(invalid_value("spec.service.port", port, text))
    if skips and bundle:
        text = "may not be true if caBundle is present"
        errors.append(invalid_value("spec.insecureSkipTLSVerify", True, text))
    return errors


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    states = ("True", "False", "Unknown")
    return [
        not_supported(f"status.conditions[{i}].status", held.get("status", ""), states)
        for i, held in enumerate((new.get("status") or {}).get("conditions") or ())
        if held.get("status") not in states
    ]


API_SERVICE = Kind(
    group="apiregistration.k8s.io",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    categories=("api-extensions",),
    subresources=(status_of("APIService"),),
    resource_prefix="/registry/apiregistration.k8s.io/apiservices",
    strategy=Strategy(
        any_finalizer=True,
        metadata_checks=2,
        check=_check,
        check_status=_check_status,
        name_rule=is_path_segment,
        default=_default,
        create=_create,
        namespaced=False,
        status=True,
        resets={"status": (("metadata",), ("spec",))},
        allow_unconditional_update=False,
    ),
    columns=(NAME, Column("Service", _service), Column("Available", _available), AGE),
)
