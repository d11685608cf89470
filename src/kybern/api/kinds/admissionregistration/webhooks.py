"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration."""

from kybern.api.defaults.admission import default_match_resources
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, length
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.webhooks import webhooks


def _default(configuration: Obj) -> None:
    for webhook in configuration.get("webhooks") or ():
        default_match_resources(webhook)
        if webhook.get("failurePolicy") is None:
            webhook["failurePolicy"] = "Fail"
        if webhook.get("timeoutSeconds") is None:
            webhook["timeoutSeconds"] = 10
        service = (webhook.get("clientConfig") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443


def _default_mutating(configuration: Obj) -> None:
    _default(configuration)
    for webhook in configuration.get("webhooks") or ():
        if webhook.get("reinvocationPolicy") is None:
            webhook["reinvocationPolicy"] = "Never"


def _changed(new: Obj, old: Obj) -> bool:
    return bool(new.get("webhooks") != old.get("webhooks"))


COLUMNS = (NAME, Column("Webhooks", length("webhooks"), "integer"), AGE)


MUTATING_WEBHOOK_CONFIGURATION = Kind(
    group="admissionregistration.k8s.io",
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
    strategy=Strategy(
        any_finalizer=True,
        check=lambda o: webhooks(o.get("webhooks") or [], mutating=True),
        default=_default_mutating,
        generation=_changed,
        namespaced=False,
        allow_unconditional_update=False,
    ),
    columns=COLUMNS,
)

VALIDATING_WEBHOOK_CONFIGURATION = Kind(
    group="admissionregistration.k8s.io",
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
    strategy=Strategy(
        any_finalizer=True,
        check=lambda o: webhooks(o.get("webhooks") or [], mutating=False),
        default=_default,
        generation=_changed,
        namespaced=False,
        allow_unconditional_update=False,
    ),
    columns=COLUMNS,
)
