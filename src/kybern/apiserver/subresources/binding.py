"""``pods/binding`` and ``bindings``: the scheduler's word on where a pod runs."""

from kybern.api.errors import (
    FieldError,
    Obj,
    StatusError,
    bad_request,
    conflict,
    invalid,
    not_supported,
    required,
)
from kybern.api.kinds import Kind
from kybern.api.objects import set_condition
from kybern.api.validation.names import is_path_segment
from kybern.apiserver.body import read_kind
from kybern.apiserver.call import Call
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.options import WriteOptions, write_options
from kybern.apiserver.responses import respond
from kybern.apiserver.subresources.adjust import Contended, Vanished, adjust
from kybern.component.http.messages import Response


async def create(call: Call) -> Response:
    """Assign the pod to the node that the Binding in the body names."""
    options = write_options(call.info, "CreateOptions")
    binding = read_kind(
        call, call.services.schema("", "v1", "Binding"), "", "v1", "Binding", options
    )
    metadata = binding["metadata"]
    ensure_namespace(metadata, call.info.namespace)
    name = call.info.name or metadata.get("name", "")
    if not name:
        raise bad_request("Name parameter required.")
    wrong = is_path_segment(name)
    if wrong:
        raise bad_request(f'Name parameter invalid: "{name}": {";".join(wrong)}')
    if name != metadata.get("name", ""):
        raise bad_request("name in URL does not match name in Binding object")
    if errors := _errors(binding):
        # Upstream says the same without a reason, and so with code 500.
        raise invalid("Binding", name, errors)
    attributes = call.attributes("CREATE", binding, None, options, options.dry_run)
    await call.services.admission.admit(attributes)
    await call.services.admission.validate(attributes)
    await _assign(call, name, binding, options)
    return respond(_success(), 201, call.output)


async def _assign(call: Call, name: str, binding: Obj, options: WriteOptions) -> None:
    pods = _pods(call)
    key = pods.key(call.info.namespace, name)

    def bind(pod: Obj) -> None:
        why = _mismatch(pod, binding["metadata"])
        if why:
            detail = (
                f"StorageError: invalid object, Code: 4, Key: {key.removeprefix('/registry')}, "
            )
            detail += f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: {why}"
            raise conflict("pods", name, detail)
        why = _obstacle(pod)
        if why:
            raise conflict("pods/binding", name, why)
        pod["spec"]["nodeName"] = binding["target"]["name"]
        # What was expected before says nothing any more.
        pod.get("status", {}).pop("nominatedNodeName", None)
        for kind in ("annotations", "labels"):
            if binding["metadata"].get(kind):
                pod["metadata"].setdefault(kind, {}).update(binding["metadata"][kind])
        now = call.services.clock.timestamp()
        set_condition(pod, "PodScheduled", "True", "", "", now)

    try:
        await adjust(call.services, pods, key, bind, dry_run=options.dry_run)
    except Vanished:
        raise _no_pod(name) from None
    except Contended:
        raise conflict("pods/binding", name, "the pod is being changed by others") from None


def _pods(call: Call) -> Kind:
    served = call.services.registry.lookup("", "v1", "pods")
    assert served is not None, "pods are a built-in kind"
    return served.kind


def _mismatch(pod: Obj, wanted: Obj) -> str:
    """Why the pod is not the one that was meant; empty if it is."""
    metadata = pod["metadata"]
    uid, version = wanted.get("uid"), wanted.get("resourceVersion")
    if uid and uid != metadata.get("uid"):
        return f"UID in precondition: {uid}, UID in object meta: {metadata.get('uid', '')}"
    if version and version != metadata["resourceVersion"]:
        return (
            f"ResourceVersion in precondition: {version}, "
            f"ResourceVersion in object meta: {metadata['resourceVersion']}"
        )
    return ""


def _obstacle(pod: Obj) -> str:
    """Why a pod cannot be bound; empty if it can."""
    metadata, spec = pod["metadata"], pod["spec"]
    name = metadata["name"]
    if metadata.get("deletionTimestamp"):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if spec.get("nodeName"):
        return f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    if spec.get("schedulingGates"):
        return f"pod {name} has non-empty .spec.schedulingGates"
    return ""


def _errors(binding: Obj) -> list[FieldError]:
    target = binding.get("target") or {}
    errors: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(not_supported("target.kind", target["kind"], ["Node", "<empty>"]))
    if not target.get("name"):
        errors.append(required("target.name"))
    return errors


def _no_pod(name: str) -> StatusError:
    return StatusError(404, "NotFound", f'pods "{name}" not found', {"name": name, "kind": "pods"})


def _success() -> Obj:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return {**status, "code": 201}


VERBS = {"create": create}
