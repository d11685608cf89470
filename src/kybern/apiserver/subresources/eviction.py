"""``pods/eviction``: delete a pod, unless its disruption budget has something against it."""

from dataclasses import replace
from typing import Any

from kybern.api.errors import Obj, StatusError, bad_request, forbidden, too_many_requests
from kybern.api.kinds import Kind
from kybern.api.objects import condition, is_deleting, is_pod_ready, pod_phase, set_condition
from kybern.api.selectors import LabelSelector
from kybern.apiserver.body import read_kind
from kybern.apiserver.cache.events import Selection
from kybern.apiserver.call import Call
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.deletion import check_preconditions, delete_object
from kybern.apiserver.options import DeleteOptions, checked_delete_options, write_options
from kybern.apiserver.responses import respond
from kybern.apiserver.subresources.adjust import Contended, Vanished, adjust
from kybern.component.http.messages import Response

MOST_DISRUPTED_PODS = 2000
_VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL_BUDGETS = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
    "support."
)


async def create(call: Call) -> Response:
    """Evict the pod; raises StatusError 429 while its budget does not allow it."""
    write = write_options(call.info, "CreateOptions")
    schema = call.services.schema("policy", "v1", "Eviction")
    # Old kubectls drain nodes with evictions of v1beta1.
    eviction = read_kind(
        call, schema, "policy", "v1", "Eviction", write, same_form="policy/v1beta1"
    )
    metadata = eviction["metadata"]
    ensure_namespace(metadata, call.info.namespace)
    if metadata.get("name", "") != call.info.name:
        raise bad_request("name in URL does not match name in Eviction object")
    options = checked_delete_options(eviction.get("deleteOptions") or {})
    options = replace(options, dry_run=options.dry_run or write.dry_run)
    attributes = call.attributes("CREATE", eviction, None, write, options.dry_run)
    await call.services.admission.admit(attributes)
    await call.services.admission.validate(attributes)
    options = await _permitted(call, options)
    await _evict(call, options)
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return respond({**status, "code": 201}, 201, call.output)


async def _permitted(call: Call, options: DeleteOptions) -> DeleteOptions:
    """The options of a deletion that the budget allows; counts the disruption."""
    pod = _pod(call)
    if pod_phase(pod) in ("Succeeded", "Failed", "Pending") or is_deleting(pod):
        return options
    budgets = _budgets(call, pod)
    if not budgets:
        return options
    if len(budgets) > 1:
        raise StatusError(500, "", _SEVERAL_BUDGETS)
    key, budget = budgets[0]
    if not is_pod_ready(pod) and _spares_unhealthy(budget):
        # The pod must not become healthy in between, because then it would count.
        return replace(options, resource_version=pod["metadata"]["resourceVersion"])
    name = budget["metadata"]["name"]
    try:
        await adjust(
            call.services,
            _budget_kind(call),
            key,
            lambda found: _count_disruption(call, found),
            dry_run=options.dry_run,
        )
    except Vanished:
        return options
    except Contended:
        raise _still_processing(name) from None
    return options


def _pod(call: Call) -> Obj:
    cached = call.cache.get(call.key(call.info.name))
    if cached is None:
        raise call.not_found(call.info.name)
    return cached.obj


def _budget_kind(call: Call) -> Kind:
    served = call.services.registry.lookup("policy", "v1", "poddisruptionbudgets")
    assert served is not None, "disruption budgets are a built-in kind"
    return served.kind


def _budgets(call: Call, pod: Obj) -> list[tuple[str, Obj]]:
    """The budgets that select a pod, with their store keys. An empty selector selects all."""
    kind = _budget_kind(call)
    prefix = f"{kind.resource_prefix}/{call.info.namespace}/"
    found = call.services.caches.cache(kind).current(Selection(prefix, None, None), "")
    labels = pod["metadata"].get("labels") or {}
    return [
        (cached.key, cached.obj)
        for cached in found
        if LabelSelector.from_object(cached.obj["spec"].get("selector")).matches(labels)
    ]


def _spares_unhealthy(budget: Obj) -> bool:
    """Whether pods that are not ready may always go."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy", 0)
    return desired > 0 and status.get("currentHealthy", 0) >= desired


def _count_disruption(call: Call, budget: Obj) -> None:
    """Take one disruption off the budget; raises StatusError 403 and 429."""
    metadata, status = budget["metadata"], budget.setdefault("status", {})
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _still_processing(name)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise forbidden(
            "poddisruptionbudget", name, "pdb disruptions allowed is negative", "policy"
        )
    disrupted: dict[str, Any] = status.setdefault("disruptedPods", {})
    if len(disrupted) > MOST_DISRUPTED_PODS:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("poddisruptionbudget", name, why, "policy")
    if allowed == 0:
        raise _violated(_why_not(budget))
    status["disruptionsAllowed"] = allowed - 1
    now = call.services.clock.timestamp()
    if allowed == 1:
        set_condition(
            budget,
            "DisruptionAllowed",
            "False",
            "InsufficientPods",
            "",
            now,
            observedGeneration=status.get("observedGeneration", 0),
        )
    disrupted[call.info.name] = now


def _why_not(budget: Obj) -> str:
    status, name = budget["status"], budget["metadata"]["name"]
    found = condition(budget, "DisruptionAllowed") or {}
    message = found.get("message", "") if found.get("status") == "False" else ""
    current, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    head = f"The disruption budget {name}"
    if message and found.get("reason") == "SyncFailed":
        return f"{head} does not allow evicting pods currently because it failed sync: {message}"
    if current <= desired:
        return f"{head} needs {desired} healthy pods and has {current} currently"
    if message:
        reason = found.get("reason", "")
        return f"{head} does not allow evicting pods currently ({reason}): {message}"
    return f"{head} does not allow evicting pods currently"


def _violated(why: str, retry_after: int = 0) -> StatusError:
    error = too_many_requests(_VIOLATED, retry_after)
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    else:
        error.headers = {}
    error.details = details
    return error


def _still_processing(name: str) -> StatusError:
    why = f"The disruption budget {name} is still being processed by the server."
    return _violated(why, 10)


async def _evict(call: Call, options: DeleteOptions) -> None:
    """Say on the pod why it goes, and delete it."""
    name = call.info.name
    if not options.dry_run:
        now = call.services.clock.timestamp()

        def mark(pod: Obj) -> None:
            check_preconditions(call, name, pod, options)
            reason, message = "EvictionByEvictionAPI", "Eviction API: evicting"
            set_condition(pod, "DisruptionTarget", "True", reason, message, now)

        try:
            marked = await adjust(call.services, call.kind, call.key(name), mark)
        except Vanished:
            raise call.not_found(name) from None
        except Contended:
            raise _still_processing(name) from None
        if options.resource_version is not None:
            options = replace(options, resource_version=str(marked.mod_revision))
    await delete_object(call, name, options, admitted=True)


VERBS = {"create": create}
