"""``pods/log``, ``exec``, ``attach`` and ``portforward``: handed on to the pod's kubelet.

The kubelet's answer goes back as it comes. After its 101 the two connections are one: WebSocket
and SPDY frames pass through unread, but for the WebSocket protocols that ``stream_translation``
turns into SPDY.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from urllib.parse import urlencode

from kybern.api.errors import (
    FieldError,
    Obj,
    StatusError,
    bad_request,
    field_forbidden,
    forbidden,
    internal_error,
    invalid,
    invalid_value,
    not_found,
)
from kybern.apiserver.backends.exchange import BackendUnreachable, Target, exchange
from kybern.apiserver.call import Call
from kybern.apiserver.request_info import Attributes
from kybern.apiserver.stream_translation import (
    REMOTE_COMMAND,
    TUNNEL,
    Dial,
    remote_command,
    tunnel,
    wants,
)
from kybern.apiserver.websocket_streams import answer
from kybern.component.http.messages import Response
from kybern.component.http.websocket import Message, is_websocket

_BINARY_LOG, _BASE64_LOG = "binary.k8s.io", "base64.binary.k8s.io"
_LOG_FLAGS = ("follow", "previous", "timestamps")
_LOG_NUMBERS = ("sinceSeconds", "tailLines", "limitBytes")
# The client's name of a flag, the kubelet's, and what holds where the client says nothing.
_STREAM_FLAGS = (
    ("stdin", "input", False),
    ("stdout", "output", True),
    ("stderr", "error", True),
    ("tty", "tty", False),
)


async def log(call: Call) -> Response:
    """A container's log; empty for a pod that is nowhere yet."""
    query = _log_query(call)
    pod = _pod(call)
    container = _container(call, pod)
    if not pod["spec"].get("nodeName"):
        return _shown_log(call, b"")
    target = _target(call, pod, f"/containerLogs/{_path(pod)}/{container}", query)
    try:
        response = await exchange(target, "GET", {"accept": "*/*"})
    except BackendUnreachable as error:
        raise StatusError(500, "", f'Get "{target.url}": {error}') from None
    if response.status >= 400:
        raise await _log_failure(call, response)
    return _shown_log(call, response.body)


def _shown_log(call: Call, body: bytes | AsyncIterator[bytes]) -> Response:
    """The text as the body of the answer, or in messages of a WebSocket after an empty first."""
    if not is_websocket(call.request):
        return Response(200, {"Content-Type": "text/plain"}, body)

    async def messages(subprotocol: str) -> AsyncIterator[Message]:
        encoded = subprotocol == _BASE64_LOG
        yield "" if encoded else b""
        async for chunk in _chunks(body):
            yield b64encode(chunk).decode() if encoded else chunk

    return answer(call.request, (_BINARY_LOG, _BASE64_LOG), messages)


async def _chunks(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    async for chunk in body:
        yield chunk


async def execute(call: Call) -> Response:
    """Run a command in a container."""
    _may_connect(call)
    if not call.info.params.get("command"):
        raise bad_request("you must specify at least one command for the container")
    return await _container_stream(call, "exec", call.info.params["command"])


async def attach(call: Call) -> Response:
    """Join a container's main process."""
    _may_connect(call)
    return await _container_stream(call, "attach", [])


async def portforward(call: Call) -> Response:
    """Carry connections to ports of the pod."""
    _may_connect(call)
    pod = _assigned(call)
    ports = [port for text in call.info.params.get("ports", ()) for port in text.split(",")]
    query = urlencode({"port": ",".join(ports)}) if ports else ""
    await _admit(call)
    target = _target(call, pod, f"/portForward/{_path(pod)}", query)
    if wants(call.request, TUNNEL):
        return await tunnel(call.request, _dial(target))
    return await _upgraded(call, target)


async def _container_stream(call: Call, verb: str, command: list[str]) -> Response:
    pod = _pod(call)
    container = _container(call, pod)
    _assigned(call)
    info = call.info
    flags = [
        (theirs, "1")
        for ours, theirs, default in _STREAM_FLAGS
        if (info.flag(ours) if ours in info.params else default)
    ]
    query = urlencode(flags + [("command", part) for part in command])
    await _admit(call)
    target = _target(call, pod, f"/{verb}/{_path(pod)}/{container}", query)
    if wants(call.request, REMOTE_COMMAND):
        streams = [ours for ours, theirs, _ in _STREAM_FLAGS[:3] if (theirs, "1") in flags]
        if ("tty", "1") in flags:
            # A terminal has a size, and one output for both.
            streams = [name for name in streams if name != "stderr"] + ["resize"]
        return await remote_command(call.request, _dial(target), streams)
    return await _upgraded(call, target)


async def _upgraded(call: Call, target: Target) -> Response:
    request = call.request
    try:
        return await exchange(target, request.method, request.headers, request.body)
    except BackendUnreachable as error:
        raise StatusError(500, "", f"error dialing backend: {error}") from None


def _may_connect(call: Call) -> None:
    """A WebSocket comes as GET, but what it does needs the right to create."""
    asked = Attributes.of(call.user, call.info)
    if asked.verb == "create":
        return
    decision = call.services.authorizers.decide(replace(asked, verb="create"))
    if not decision.allowed:
        raise forbidden(call.info.resource, call.info.name, decision.reason, call.info.group)


def _dial(target: Target) -> Dial:
    """Upgrades to the kubelet for a client whose protocol is translated."""

    async def dial(headers: Mapping[str, str]) -> Response:
        try:
            return await exchange(target, "POST", headers)
        except BackendUnreachable as error:
            raise StatusError(500, "", f"error dialing backend: {error}") from None

    return dial


async def _admit(call: Call) -> None:
    attributes = call.attributes("CONNECT", {}, None, None, False)
    await call.services.admission.admit(attributes)
    await call.services.admission.validate(attributes)


def _pod(call: Call) -> Obj:
    cached = call.cache.get(call.key(call.info.name))
    if cached is None:
        raise call.not_found(call.info.name)
    return cached.obj


def _assigned(call: Call) -> Obj:
    pod = _pod(call)
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {call.info.name} does not have a host assigned")
    return pod


def _path(pod: Obj) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _container(call: Call, pod: Obj) -> str:
    """The container that the request names, or the only one there is."""
    spec, name = pod["spec"], call.info.param("container")
    regular = [container["name"] for container in spec.get("containers") or ()]
    others = [
        container["name"]
        for group in ("initContainers", "ephemeralContainers")
        for container in spec.get(group) or ()
    ]
    if name:
        if name not in regular and name not in others:
            raise bad_request(f"container {name} is not valid for pod {call.info.name}")
        return name
    if len(regular) == 1:
        return str(regular[0])
    initial = [container["name"] for container in spec.get("initContainers") or ()]
    ephemeral = [container["name"] for container in spec.get("ephemeralContainers") or ()]
    listed = " ".join(initial + regular + ephemeral)
    raise bad_request(
        f"a container name must be specified for pod {call.info.name}, choose one of: [{listed}]"
    )


def _target(call: Call, pod: Obj, path: str, query: str) -> Target:
    name = pod["spec"]["nodeName"]
    nodes = call.services.registry.lookup("", "v1", "nodes")
    assert nodes is not None, "nodes are a built-in kind"
    cached = call.services.caches.cache(nodes.kind).get(nodes.kind.key("", name))
    if cached is None:
        raise not_found("nodes", name)
    return call.services.kubelets.target(cached.obj, path, query)


def _log_query(call: Call) -> str:
    """The options for the kubelet; raises StatusError 400 and 422."""
    info = call.info
    pairs = [(name, "true") for name in _LOG_FLAGS if info.params and info.flag(name)]
    errors: list[FieldError] = []
    for name in _LOG_NUMBERS:
        text = info.param(name)
        if not text:
            continue
        number = _integer(text)
        least = 0 if name == "tailLines" else 1
        if number < least:
            bound = "greater than or equal to 0" if least == 0 else "greater than 0"
            errors.append(invalid_value(name, number, f"must be {bound}"))
        pairs.append((name, text))
    if info.param("sinceTime"):
        pairs.append(("sinceTime", info.param("sinceTime")))
        if info.param("sinceSeconds"):
            why = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            errors.append(field_forbidden("[]", why))
    if info.param("stream"):
        errors.append(field_forbidden("stream", "may not be specified"))
    if errors:
        raise invalid("PodLogOptions", info.name, errors)
    return urlencode(pairs)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


async def _log_failure(call: Call, response: Response) -> StatusError:
    """What the kubelet has against it, as a Status of this server."""
    body = response.body
    text = body if isinstance(body, bytes) else b"".join([chunk async for chunk in body])
    message = text.decode("utf-8", "replace").strip()
    name = call.info.name
    if response.status == 400:
        return bad_request(message)
    if response.status == 404:
        why = f"the server could not find the requested resource ( pods/log {name})"
        return StatusError(404, "NotFound", why, {"name": name, "kind": "pods/log"})
    return internal_error(message)


LOG_VERBS = {"get": log}
EXEC_VERBS = {"get": execute, "create": execute}
ATTACH_VERBS = {"get": attach, "create": attach}
PORTFORWARD_VERBS = {"get": portforward, "create": portforward}
