"""Requests per second, latency and CPU per request of a whole API server, over HTTPS.

    bench/apiserver.py [--kube-apiserver PATH --etcd PATH] [--only TEXT] [--seconds S]

Kybern's API server runs as ``kybern run apiserver`` does, on its durable store, with
authentication, authorization, every admission plugin and managedFields; the client is a process
of its own. Where kube-apiserver and etcd are found (on PATH or by the flags), the same loads run
against them directly afterwards, and ratios are printed. CPU counts all server processes, so etcd
counts with kube-apiserver. Pods are 3 KB as stored.
"""

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import Server, find_binary, kybern_server, peer_server, row

PODS = "/api/v1/namespaces/bench/pods"
CONFIG_MAPS = "/api/v1/namespaces/bench/configmaps"
TOKEN_OWNER = "/api/v1/namespaces/bench/serviceaccounts/default"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
APPLY, JSON = "application/apply-patch+yaml", "application/json"


def pod(name: str, **annotations: str) -> dict[str, Any]:
    """What a user would send: two containers with probes, resources and environment."""
    containers = [
        {
            "name": name_,
            "image": "registry.example/app:1.2.3",
            "env": [{"name": f"VARIABLE_{n}", "value": f"value-{n}"} for n in range(6)],
            "ports": [{"name": name_, "containerPort": port}],
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"cpu": "1", "memory": "1Gi"},
            },
            "readinessProbe": {"httpGet": {"path": "/ready", "port": name_}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        for name_, port in (("app", 8080), ("sidecar", 9090))
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": "bench", "number": name},
            "annotations": {"bench.example/note": "measured", **annotations},
        },
        "spec": {
            "containers": containers,
            "volumes": [{"name": "data", "emptyDir": {}}],
            "nodeSelector": {"disk": "fast"},
        },
    }


@dataclass
class Load:
    """``count`` requests, made larger or smaller by ``--seconds`` to last about that long."""

    title: str
    method: str
    path: str
    connections: int
    rate_guess: int
    type: str = ""
    body: Any = None
    with_token: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def message(self, server: Server, seconds: float, token: str) -> dict[str, Any]:
        body = "" if self.body is None else json.dumps(self.body)
        count = max(self.connections, int(self.rate_guess * seconds))
        return {
            **server.access,
            "method": self.method,
            "path": self.path,
            "type": self.type,
            "body": body,
            "connections": self.connections,
            "count": count,
            "warm": min(count // 5 + self.connections, 500),
            "token": token if self.with_token else "",
            **self.extra,
        }


def loads() -> list[Load]:
    one = f"{PODS}/pod-@C@-0"
    moved = {"metadata": {"annotations": {"bench.example/turn": "@N@"}}}
    image = {"spec": {"containers": [{"name": "app", "image": "registry.example/app:@N@"}]}}
    applied = pod("applied-@C@", turn="@N@")
    return [
        Load("GET a pod", "GET", one, 1, 4000),
        Load("GET a pod", "GET", one, 32, 6000),
        Load("GET a pod, with a token", "GET", one, 32, 6000, with_token=True),
        Load("LIST 1,000 pods", "GET", PODS, 1, 40),
        Load("LIST 1,000 pods", "GET", PODS, 8, 40),
        Load("LIST by label, 1 of 1,000", "GET", f"{PODS}?labelSelector=number%3Dpod-1-1", 8, 1500),
        Load("LIST by label, none", "GET", f"{PODS}?labelSelector=app%3Dnone", 8, 1500),
        Load("LIST 1,000 pods, cached", "GET", f"{PODS}?resourceVersion=0", 1, 40),
        Load(
            "LIST by label, none, cached",
            "GET",
            f"{PODS}?labelSelector=app%3Dnone&resourceVersion=0",
            8,
            1500,
        ),
        Load("POST a pod", "POST", PODS, 1, 400, JSON, pod("created-one-@N@")),
        Load("POST a pod", "POST", PODS, 16, 800, JSON, pod("created-@N@")),
        Load("PATCH a pod, merge", "PATCH", one, 16, 800, MERGE, moved),
        Load("PATCH a pod, strategic", "PATCH", one, 16, 800, STRATEGIC, image),
        Load(
            "PATCH a pod, apply",
            "PATCH",
            f"{PODS}/applied-@C@?fieldManager=bench&force=true",
            16,
            500,
            APPLY,
            applied,
        ),
        Load("PUT a pod", "PUT", f"{PODS}/pod-@C@-1", 16, 800, JSON),
        Load(
            "WATCH, 200 watchers, 100 events/s",
            "PATCH",
            f"{CONFIG_MAPS}/watched",
            1,
            100,
            MERGE,
            {"metadata": {"annotations": {"moment": "@N@"}}},
            extra={"watch": f"{CONFIG_MAPS}?watch=1", "watchers": 200, "rate": 100},
        ),
    ]


async def run(message: dict[str, Any], server: Server) -> dict[str, Any]:
    """One load in a client process; returns its outcome with the server's CPU seconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("load.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    assert await process.stdout.readline() == b"ready\n", "the load failed before it began"
    before = server.cpu()
    process.stdin.write(b"go\n")
    outcome: dict[str, Any] = json.loads(await process.stdout.readline())
    outcome["cpu"] = server.cpu() - before
    await process.wait()
    good = sum(n for status, n in outcome["statuses"].items() if status[0] == "2")
    if good < outcome["count"]:
        raise SystemExit(f"{server.name}: {message['method']}: {outcome['statuses']}")
    return outcome


async def prepare(server: Server) -> str:
    """The namespace, its service account and 1,000 pods; returns a token of the service account."""

    meta = {"metadata": {"name": "bench"}}
    await ask(server, "POST", "/api/v1/namespaces", meta)
    account = {"metadata": {"name": "default"}, "automountServiceAccountToken": False}
    await ask(server, "POST", TOKEN_OWNER.rpartition("/")[0], account)
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "bench"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {**meta, "roleRef": role, "subjects": [subject]}
    await ask(server, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    watched = {"metadata": {"name": "watched"}, "data": {"text": "x" * 1000}}
    await ask(server, "POST", CONFIG_MAPS, watched)
    load = Load("", "POST", PODS, 40, 0, JSON, pod("pod-@N@"))
    await run({**load.message(server, 1, ""), "count": 1000, "warm": 0}, server)
    wanted = {"spec": {"expirationSeconds": 3600}}
    token = await ask(server, "POST", f"{TOKEN_OWNER}/token", wanted)
    return str(token["status"]["token"])


async def as_put(server: Server) -> Any:
    """A pod as a client would send it back, changed: what the server filled in comes with it."""
    put = await ask(server, "GET", f"{PODS}/pod-0-1")
    meta = {"name": "pod-@C@-1", "labels": put["metadata"]["labels"]}
    return {**put, "metadata": {**meta, "annotations": {"bench.example/turn": "@N@"}}}


async def ask(server: Server, method: str, path: str, body: Any = None) -> Any:
    """One request outside the measurement; returns the object in its response."""
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(server.certificate, server.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.0\r\nHost: bench\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answer = await reader.read()
    writer.close()
    status, _, rest = answer.partition(b"\r\n\r\n")
    if status.split()[1][:1] != b"2":
        raise SystemExit(f"{server.name}: {method} {path}: {rest.decode()}")
    return json.loads(rest)


def show(name: str, outcome: dict[str, Any], against: dict[str, Any] | None) -> None:
    rate, cpu = outcome["count"] / outcome["seconds"], outcome["cpu"] / outcome["count"] * 1e6
    cells = [
        f"{rate:,.0f}/s",
        f"{cpu:,.0f} us",
        f"{outcome['p50']:.1f} ms",
        f"{outcome['p99']:.1f} ms",
    ]
    if against is not None:
        slower = against["count"] / against["seconds"] / rate
        dearer = cpu / (against["cpu"] / against["count"] * 1e6)
        cells += [f"{slower:.1f}x", f"{dearer:.1f}x"]
    row(name, *cells)


async def main(options: argparse.Namespace) -> None:
    kube_apiserver = find_binary(options.kube_apiserver, "kube-apiserver")
    etcd = find_binary(options.etcd, "etcd")
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kybern-bench-")))
        for name in ("kybern", "peer"):
            (directory / name).mkdir()
        servers = [await stack.enter_async_context(kybern_server(directory / "kybern"))]
        if kube_apiserver and etcd and not options.alone:
            peer = peer_server(directory / "peer", kube_apiserver, etcd)
            servers.append(await stack.enter_async_context(peer))
        else:
            print("No kube-apiserver and etcd were found: figures without ratios.")
        tokens = [await prepare(server) for server in servers]
        row("", "rate", "CPU/request", "p50", "p99", "rate ratio", "CPU ratio")
        for load in loads():
            if options.only not in load.title:
                continue
            outcomes: list[dict[str, Any]] = []
            for server, known in zip(servers, tokens, strict=True):
                if load.method == "PUT":
                    load.body = await as_put(server)
                message = load.message(server, options.seconds, known)
                outcomes.append(await run(message, server))
            title = f"{load.title}, {load.connections} conn."
            show(title, outcomes[0], None)
            for server, outcome in zip(servers[1:], outcomes[1:], strict=True):
                show(f"  {server.name}", outcome, outcomes[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kube-apiserver", default="", help="path of a peer to compare with")
    parser.add_argument("--etcd", default="", help="path of the peer's store")
    parser.add_argument("--alone", action="store_true", help="measure Kybern only")
    parser.add_argument("--only", default="", help="loads whose title contains this")
    parser.add_argument("--seconds", type=float, default=1.0, help="scales every load")
    asyncio.run(main(parser.parse_args()))
