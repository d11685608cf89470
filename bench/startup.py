"""Seconds from the start of the first process, imports included, until a cluster is usable.

    bench/startup.py [--rounds N] [--kube-apiserver PATH --etcd PATH]

In process: a fresh interpreter until a pod runs on a hollow node. ``up``: the command until it
returns, which is when the API answers and the nodes are Ready. Real nodes need root; without it
that line says so. Every cluster is stopped and its files are removed. The best of N rounds counts:
other load on the machine only ever adds.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import KYBERN, find_binary, free_port, peer_server, row, run_quietly

IN_PROCESS = """
import asyncio
from kybern.api.resources import PODS
from kybern.testing import Cluster

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "first"},
    "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]},
}

async def main():
    async with Cluster(nodes=1) as cluster:
        await cluster.client.create(PODS, POD, "default")
        await cluster.wait_for(PODS, "first", lambda pod: pod["status"]["phase"] == "Running")
        print("running", flush=True)

asyncio.run(main())
"""


def in_process() -> float:
    """A test's view: from the interpreter's start to a Running pod."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", IN_PROCESS], stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - start
    process.wait()
    if line != b"running\n" or process.returncode:
        raise SystemExit("the cluster in process did not come up")
    return seconds


def up(*nodes: str) -> float:
    """``kybern up`` in an empty data directory, and down again."""
    with tempfile.TemporaryDirectory(prefix="kybern-bench-") as directory:
        data = [f"--data-dir={Path(directory) / 'data'}"]
        start = time.perf_counter()
        try:
            run_quietly([*KYBERN, "up", "-q", f"--secure-port={free_port()}", *data, *nodes])
            return time.perf_counter() - start
        finally:
            run_quietly([*KYBERN, "down", "--wipe", *data])


async def peer(kube_apiserver: str, etcd: str) -> float:
    """kube-apiserver on etcd until it is ready: no controllers, no scheduler, no node yet."""
    with tempfile.TemporaryDirectory(prefix="kybern-bench-") as directory:
        async with peer_server(Path(directory), kube_apiserver, etcd) as server:
            return float(server.seconds_to_ready)


def main(options: argparse.Namespace) -> None:
    rounds = range(options.rounds)
    row("", "seconds", "aim")

    def show(title: str, aim: str, seconds: list[float]) -> None:
        row(title, f"{min(seconds):.2f}", aim)

    show("in process to a Running pod", "1", [in_process() for _ in rounds])
    simulated = ("--nodes=0", "--simulated-nodes=1")
    show("up --nodes 0 --simulated-nodes 1", "2", [up(*simulated) for _ in rounds])
    if os.geteuid() == 0:
        try:
            show("up --nodes 1", "5", [up("--nodes=1") for _ in rounds])
        except subprocess.CalledProcessError as error:
            print(f"up --nodes 1 did not come up: {error.stdout.decode()}")
    else:
        row("up --nodes 1", "skipped: real nodes need root")
    kube_apiserver = find_binary(options.kube_apiserver, "kube-apiserver")
    etcd = find_binary(options.etcd, "etcd")
    if kube_apiserver and etcd:
        seconds = [asyncio.run(peer(kube_apiserver, etcd)) for _ in rounds]
        show("kube-apiserver and etcd to ready", "", seconds)
    else:
        print("No kube-apiserver and etcd were found to compare with.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kube-apiserver", default="", help="path of a peer to compare with")
    parser.add_argument("--etcd", default="", help="path of the peer's store")
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args())
