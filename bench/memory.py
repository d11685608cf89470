"""Memory of a control plane at rest: the PSS of all its processes, in MB.

    bench/memory.py [--rest SECONDS] [--simulated-nodes N] [--kube-apiserver PATH --etcd PATH]

PSS counts a page that processes share once. The supervisor belongs to the control plane, the
process of simulated nodes is listed but does not count.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from harness import (
    KYBERN,
    descendants,
    find_binary,
    free_port,
    peer_server,
    pss_mb,
    row,
    run_quietly,
)

AIM = 250


def title(pid: int) -> str:
    """What a process does, by its arguments."""
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    if "run" in arguments:
        words = arguments[arguments.index("run") + 1 :]
        return " ".join(word for word in words if word and not word.startswith("-"))
    return "supervisor"


def control_plane(rest: float, nodes: int) -> float:
    """Print each process of ``up`` after ``rest`` seconds; returns the sum without hollow nodes."""
    with tempfile.TemporaryDirectory(prefix="kybern-bench-") as directory:
        data_dir = Path(directory) / "data"
        data = [f"--data-dir={data_dir}"]
        try:
            command = [*KYBERN, "up", "-q", f"--secure-port={free_port()}", *data]
            command += ["--nodes=0", f"--simulated-nodes={nodes}"]
            run_quietly(command)
            time.sleep(rest)
            supervisor = int((data_dir / "supervisor.pid").read_text())
            sizes = {title(pid): pss_mb([pid]) for pid in descendants(supervisor)}
        finally:
            run_quietly([*KYBERN, "down", "--wipe", *data])
    for name, size in sizes.items():
        row(name, f"{size:.0f}")
    return sum(size for name, size in sizes.items() if name != "hollow")


async def peer(kube_apiserver: str, etcd: str, rest: float) -> None:
    """The same for kube-apiserver and etcd, which come without controllers and scheduler."""
    with tempfile.TemporaryDirectory(prefix="kybern-bench-") as directory:
        async with peer_server(Path(directory), kube_apiserver, etcd) as server:
            await asyncio.sleep(rest)
            for name, pid in zip(("kube-apiserver", "etcd"), server.pids, strict=True):
                row(name, f"{pss_mb([pid]):.0f}")


def main(options: argparse.Namespace) -> None:
    row(f"after {options.rest:.0f} s at rest", "PSS in MB", "aim")
    total = control_plane(options.rest, options.simulated_nodes)
    row("control plane", f"{total:.0f}", AIM)
    kube_apiserver = find_binary(options.kube_apiserver, "kube-apiserver")
    etcd = find_binary(options.etcd, "etcd")
    if kube_apiserver and etcd:
        asyncio.run(peer(kube_apiserver, etcd, options.rest))
    else:
        print("No kube-apiserver and etcd were found to compare with.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rest", type=float, default=60.0, help="seconds before measuring")
    parser.add_argument("--simulated-nodes", type=int, default=1)
    parser.add_argument("--kube-apiserver", default="", help="path of a peer to compare with")
    parser.add_argument("--etcd", default="", help="path of the peer's store")
    main(parser.parse_args())
