"""``proxy``: any HTTP request, handed on to a node's kubelet, a pod or a service.

The name may carry a scheme and a port (``https:web:8443``). Services are resolved here, through
their EndpointSlices, because the server itself may not reach cluster IPs.
"""

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from kybern.api.errors import Obj, bad_request, not_found, service_unavailable
from kybern.apiserver.backends.exchange import BackendUnreachable, Target, exchange
from kybern.apiserver.body import limited_body
from kybern.apiserver.cache.events import Selection
from kybern.apiserver.call import Call
from kybern.apiserver.subresources.proxy_links import lead_back
from kybern.component.http.messages import Response

_SERVICE_LABEL = "kubernetes.io/service-name"


async def proxy(call: Call) -> Response:
    """Forward the request, whatever its method."""
    info = call.info
    path = "/" + "/".join(info.parts[3:])
    if path != "/" and info.path.endswith("/"):
        path += "/"
    if path == "/" and not info.path.endswith("/") and call.request.method in ("GET", "HEAD"):
        # Relative links in the answer only work below a path that ends in a slash.
        query = f"?{call.request.query}" if call.request.query else ""
        return Response(301, {"Location": f"{quote(info.path)}/{query}"})
    target = _LOCATE[info.resource](call, path)
    attributes = call.attributes("CONNECT", {}, None, None, False)
    await call.services.admission.admit(attributes)
    await call.services.admission.validate(attributes)
    request = call.request
    try:
        response = await exchange(
            target,
            request.method,
            request.headers,
            limited_body(call),
            forwarded_for=request.peer_address.rpartition(":")[0],
        )
    except BackendUnreachable as error:
        raise service_unavailable(f"error trying to reach service: {error}") from None
    hosts = (target.address, target.host, request.headers.get("host", ""))
    return lead_back(response, info.path.removesuffix(path), hosts)


def _node(call: Call, path: str) -> Target:
    _, name, port = _split(call.info.name)
    node = _stored(call, name)
    target = call.services.kubelets.target(node, path, call.request.query)
    if port and port != str(target.port):
        return Target(target.host, _port_number(port), target.path)
    return target


def _pod(call: Call, path: str) -> Target:
    scheme, name, port = _split(call.info.name)
    pod = _stored(call, name)
    address = _public_address(str((pod.get("status") or {}).get("podIP") or ""))
    number = _port_number(port) if port else _first_port(pod)
    return _target(call, scheme, address, number, path)


def _service(call: Call, path: str) -> Target:
    scheme, name, port = _split(call.info.name)
    service = _stored(call, name)
    entry = _service_port(service, name, port)
    endpoints = _endpoints(call, name, entry)
    if not endpoints:
        raise service_unavailable(f'no endpoints available for service "{name}"')
    address, number = call.services.clock.random.choice(endpoints)
    return _target(call, scheme, _public_address(address), number, path)


_LOCATE: dict[str, Callable[[Call, str], Target]] = {
    "nodes": _node,
    "pods": _pod,
    "services": _service,
}


def _split(text: str) -> tuple[str, str, str]:
    """Scheme, name and port; raises StatusError 400."""
    parts = text.split(":")
    if len(parts) == 1:
        return "http", parts[0], ""
    if len(parts) == 2:
        return "http", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return parts[0] or "http", parts[1], parts[2]
    raise bad_request(f'invalid proxy request "{text}"')


def _stored(call: Call, name: str) -> Obj:
    cached = call.cache.get(call.key(name))
    if cached is None:
        raise not_found(call.info.resource, name)
    return cached.obj


def _target(call: Call, scheme: str, address: str, port: int, path: str) -> Target:
    encoded = quote(path, safe="/:@!$&'()*+,;=~-._")
    query = call.request.query
    return Target(address, port, f"{encoded}?{query}" if query else encoded, _tls(scheme))


def _tls(scheme: str) -> ssl.SSLContext | None:
    """Pods' certificates are their own affair; nothing here could verify them."""
    if scheme != "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _public_address(text: str) -> str:
    """An address that clients may be led to; raises StatusError 400 for the server's own."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise bad_request("address not allowed") from None
    own = address.is_loopback or address.is_link_local or address.is_multicast
    if own or address.is_unspecified:
        raise bad_request("address not allowed")
    return text


def _port_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise bad_request(f'invalid port "{text}"')
    return int(text)


def _first_port(pod: Obj) -> int:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return 80


def _service_port(service: Obj, name: str, wanted: str) -> Obj:
    """The service's port by name or number, or the only one."""
    ports: list[Obj] = service["spec"].get("ports") or []
    if not wanted and len(ports) == 1:
        return ports[0]
    for port in ports:
        if wanted in (port.get("name", ""), str(port["port"])):
            return port
    raise service_unavailable(f'no service port "{wanted}" found for service "{name}"')


def _endpoints(call: Call, service: str, port: Obj) -> list[tuple[str, int]]:
    """Addresses and port numbers of the ready endpoints of one service port."""
    kind = call.services.registry.lookup("discovery.k8s.io", "v1", "endpointslices")
    assert kind is not None, "endpoint slices are a built-in kind"
    prefix = f"{kind.kind.resource_prefix}/{call.namespace}/"
    slices = call.services.caches.cache(kind.kind).current(Selection(prefix, None, None), "")
    found: list[tuple[str, int]] = []
    for cached in slices:
        if cached.labels.get(_SERVICE_LABEL) == service:
            found += _slice_endpoints(cached.obj, port.get("name", ""))
    return found


def _slice_endpoints(endpoint_slice: Obj, port_name: str) -> list[tuple[str, int]]:
    numbers: list[Any] = [
        port["port"]
        for port in endpoint_slice.get("ports") or ()
        if (port.get("name") or "") == port_name and port.get("port")
    ]
    return [
        (address, number)
        for endpoint in endpoint_slice.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True) is not False
        for address in endpoint.get("addresses") or ()
        for number in numbers
    ]


Verb = Callable[[Call], Awaitable[Response]]
VERBS: dict[str, Verb] = dict.fromkeys(("get", "create", "update", "patch", "delete"), proxy)
