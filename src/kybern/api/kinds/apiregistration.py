"""APIService, which puts an aggregated server behind the API."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import condition


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


API_SERVICE = Kind(
    group="apiregistration.k8s.io",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    categories=("api-extensions",),
    subresources=(status_of("APIService"),),
    resource_prefix="/registry/apiregistration.k8s.io/apiservices",
    strategy=Strategy(
        default=_default,
        create=_create,
        namespaced=False,
        status=True,
        allow_unconditional_update=False,
    ),
    columns=(NAME, Column("Service", _service), Column("Available", _available), AGE),
)
