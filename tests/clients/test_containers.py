"""kubectl and the Python clients at real containers: logs, exec, attach, cp, port-forward.

One node on a machine of its own, which is a network namespace that this module's thread enters; so
the clients, too, run on that machine.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import Pod
from kubectl_lab import Kubectl, client_environment, joined, until
from kubernetes import client, config, stream
from network_lab import inside, make_machine, needs_root, run

from kybern.cluster.images import build_rootfs, import_everywhere
from kybern.cluster.nodes.containerd import find_program
from running_cluster import RunningCluster, free_port

pytestmark = [
    needs_root,
    pytest.mark.root,
    pytest.mark.skipif(
        find_program("containerd") is None or not os.path.exists("/bin/busybox"),
        reason="containerd or busybox-static is not installed",
    ),
]

IMAGE = "kybern.local/clients-test:1"
SERVE = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"
COUNT = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"
ECHO = "while read line; do echo got $line; done"


@dataclass
class Place:
    """A running cluster of one real node."""

    data_dir: Path
    home: Path

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"


def pod(name: str, script: str, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "args": [script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{**main, **container}]},
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A node with three pods: a web server, one that counts and one that answers its input."""
    made = Place(tmp_path_factory.mktemp("cluster"), tmp_path_factory.mktemp("home"))
    machine = make_machine()
    try:
        with inside(machine):
            cluster = RunningCluster(made.data_dir, (f"--secure-port={free_port()}", "--nodes=1"))
            try:
                cluster.up()
                rootfs = tmp_path_factory.mktemp("rootfs")
                image = build_rootfs(rootfs, IMAGE, ["/bin/sh", "-c"], busybox=True)
                asyncio.run(import_everywhere(made.data_dir, [image]))
                create_pods(made)
                yield made
            finally:
                cluster.down()
    finally:
        run("ip", "netns", "del", machine)


def create_pods(place: Place) -> None:
    pods = [
        pod("web", SERVE),
        pod("count", COUNT),
        pod("echo", ECHO, stdin=True),
        pod("shell", "exec sh", stdin=True, tty=True),
    ]
    with core_api(place) as core:
        for obj in pods:
            core.create_namespaced_pod("default", obj)

        def running() -> bool:
            found = core.list_namespaced_pod("default", field_selector="status.phase=Running")
            return len(found.items) == len(pods)

        until(running, 60)


@contextmanager
def core_api(place: Place) -> Iterator[client.CoreV1Api]:
    api = config.new_client_from_config(str(place.kubeconfig))
    try:
        yield client.CoreV1Api(api)
    finally:
        api.rest_client.pool_manager.clear()
        api.close()


@pytest.fixture(params=["current", "debian", "kybern"])
def kubectl(request: pytest.FixtureRequest, place: Place) -> Kubectl:
    """Each kubectl in turn, Kybern's own among them."""
    environment = client_environment(place.kubeconfig, place.home)
    if request.param == "kybern":
        program = (sys.executable, "-m", "kybern.cluster.cli", "kubectl")
        return Kubectl(program, environment, version=(1, 36))
    return joined(request.param, environment)


@pytest.fixture(params=["current", "debian"])
def real_kubectl(request: pytest.FixtureRequest, place: Place) -> Kubectl:
    """For verbs that Kybern's own command line does not have."""
    return joined(request.param, client_environment(place.kubeconfig, place.home))


def test_a_stateful_set_finds_its_volume_again(place: Place) -> None:
    """The default storage class of ``kybern up``."""
    labels = {"app": "keeper"}
    main = pod("x", "echo again >> /data/starts; exec sleep 1000")["spec"]["containers"][0]
    main["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    resources = {"requests": {"storage": "1Mi"}}
    template = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources},
    }
    keeper = {
        "metadata": {"name": "keeper"},
        "spec": {
            "serviceName": "keeper",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [main]},
            },
            "volumeClaimTemplates": [template],
        },
    }
    with core_api(place) as core:
        apps = client.AppsV1Api(core.api_client)
        apps.create_namespaced_stateful_set("default", keeper)

        def starts() -> int:
            found = core.list_persistent_volume()
            paths = [Path(volume.spec.local.path) / "starts" for volume in found.items]
            return sum(path.read_text().count("again") for path in paths if path.exists())

        until(lambda: starts() == 1, 60)
        core.delete_namespaced_pod("keeper-0", "default")
        until(lambda: starts() == 2, 60)
        apps.delete_namespaced_stateful_set("keeper", "default")
        core.delete_namespaced_persistent_volume_claim("data-keeper-0", "default")
        until(lambda: not core.list_persistent_volume().items, 60)
        assert not list(place.data_dir.glob("nodes/*/local-path/*"))


def test_logs(kubectl: Kubectl) -> None:
    assert kubectl.ok("logs", "count").lines[0] == "line 1"
    assert len(kubectl.ok("logs", "count", "--tail=1").lines) == 1
    assert kubectl.ok("logs", "count", "-c", "main", "--limit-bytes=4").out == "line"
    done = kubectl("logs", "count", "-c", "other")
    assert done.code == 1 and "container other is not valid for pod count" in done.err


def test_following_logs(kubectl: Kubectl) -> None:
    with kubectl.running("logs", "-f", "count", "--tail=1") as following:
        first = int(following.expect(r"^line (\d+)$").group(1))
        following.expect(rf"^line {first + 2}$")


def test_commands(kubectl: Kubectl) -> None:
    assert kubectl.ok("exec", "web", "--", "cat", "/www/index.html").out == "hello\n"
    done = kubectl("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out) == (3, "out\n")
    assert done.err.startswith("err\n")
    assert "command terminated with exit code 3" in done.err


def test_commands_with_input(kubectl: Kubectl) -> None:
    data = os.urandom(200_000).hex()
    assert kubectl.ok("exec", "-i", "web", "--", "head", "-c", "400000", stdin=data).out == data


def test_commands_learn_that_their_input_ended(real_kubectl: Kubectl) -> None:
    data = os.urandom(200_000).hex()
    assert real_kubectl.ok("exec", "-i", "web", "--", "wc", "-c", stdin=data).out == "400000\n"


def test_a_terminal(kubectl: Kubectl) -> None:
    with kubectl.on_terminal("exec", "-it", "web", "--", "sh") as terminal:
        terminal.expect(r"[#$] ")
        terminal.type("test -t 0 && echo on a $((1+1)) terminal\n")
        terminal.expect("on a 2 terminal")
        terminal.expect(r"[#$] ")
        terminal.type("exit 4\n")
        assert terminal.ends() == 4


def test_attaching(real_kubectl: Kubectl) -> None:
    with real_kubectl.on_terminal("attach", "-i", "echo") as attached:
        attached.expect("press(ing)? enter")
        attached.type("one\n")
        attached.expect("got one")


def test_attaching_to_a_terminal(real_kubectl: Kubectl) -> None:
    with real_kubectl.on_terminal("attach", "-it", "shell") as attached:
        attached.type("\necho $((40+2))\n")
        attached.expect(r"^42\s*$")


def test_copying(real_kubectl: Kubectl, tmp_path: Path) -> None:
    data = os.urandom(500_000)
    (tmp_path / "there").write_bytes(data)
    real_kubectl.ok("cp", str(tmp_path / "there"), "web:/tmp/there")
    real_kubectl.ok("cp", "web:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def test_forwarding_ports(real_kubectl: Kubectl) -> None:
    with real_kubectl.running("port-forward", "pod/web", ":8080") as forwarding:
        port = int(forwarding.expect(r"127\.0\.0\.1:(\d+) -> 8080").group(1))
        for _ in range(3):
            assert ask(port, "/").endswith("hello\n")
        with socket.create_connection(("127.0.0.1", port)):
            assert ask(port, "/missing").startswith("HTTP/1.1 404")


def ask(port: int, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.read().decode()


def test_a_pod_that_lives_for_one_command(real_kubectl: Kubectl) -> None:
    words = ["run", "once", "-i", "--rm", "--restart=Never", f"--image={IMAGE}"]
    words += ["--image-pull-policy=Never", "--", "read line; echo got $line"]
    done = real_kubectl.ok(*words, stdin="this\n")
    assert "got this" in done.out
    assert 'pod "once" deleted' in done.out + done.err


def test_the_kubernetes_service_has_an_endpoint(real_kubectl: Kubectl) -> None:
    assert real_kubectl.value("{.subsets[0].addresses[0].ip}", "ep", "kubernetes")


def test_exec_by_the_python_client(place: Place) -> None:
    with core_api(place) as core:
        said = stream.stream(
            core.connect_get_namespaced_pod_exec,
            "web",
            "default",
            command=["sh", "-c", "read line; echo got $line; exit 5"],
            stdin=True,
            stdout=True,
            stderr=True,
            _preload_content=False,
        )
        said.write_stdin("this\n")
        said.run_forever(timeout=30)
        assert said.read_stdout() == "got this\n"
        assert said.returncode == 5
        said.close()
        said.sock.shutdown()  # close() leaves the socket open when the server closed first
        assert core.read_namespaced_pod_log("count", "default", tail_lines=1).startswith("line")


@pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported")
async def test_exec_by_kr8s(place: Place) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(place.kubeconfig), namespace="default")
    found = await Pod.get("web", api=api)
    done = await found.exec(["cat", "/www/index.html"])
    assert done.stdout == b"hello\n"
    await api._session.aclose()
