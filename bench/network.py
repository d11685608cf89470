"""What a change of one Service costs the node's proxy, in nftables.

Prints, for 1,000 Services of 10 endpoints each: the time to apply the whole table, and to change
one Service (rules computed, transaction applied), through libnftables and through the nft program.
Needs root; works in a network namespace of its own.
"""

import os
import statistics
import sys
import time

from kybern.network.endpoints import Endpoint, NodeView, choose
from kybern.network.nftables.ruleset import Fragment, Ruleset
from kybern.network.nftables.service_rules import service_fragment
from kybern.network.nftables.table import Skeleton
from kybern.network.nftables.transport import LibNftables, NftProgram
from kybern.network.services import service_ports

SERVICES = 1000
ENDPOINTS = 10
CHANGES = 50
PODS = "10.244.0.0/16"


def fragment(number: int, endpoints: int) -> Fragment:
    """Service ``number`` with so many endpoints."""
    address = f"10.96.{number // 250}.{number % 250 + 1}"
    service = {
        "metadata": {"namespace": "default", "name": f"service-{number}"},
        "spec": {"clusterIP": address, "ports": [{"port": 80, "nodePort": 30000 + number}]},
    }
    behind = [
        Endpoint(f"10.244.{number % 250}.{index + 1}", 8080, True, True, False, index == 0)
        for index in range(endpoints)
    ]
    choice = choose(behind, NodeView("node"))
    return service_fragment([(port, choice) for port in service_ports(service)], PODS)


def measure(name: str, transport: type[LibNftables] | type[NftProgram]) -> float:
    """Print one transport's figures; the median of one change."""
    nftables = transport()
    ruleset = Ruleset(Skeleton(PODS, "10.96.0.0/16", "10.244.1.0/24"))
    ruleset.change({f"service/{n}": fragment(n, ENDPOINTS) for n in range(SERVICES)})
    started = time.perf_counter()
    nftables.run(ruleset.render())
    whole = (time.perf_counter() - started) * 1000
    computing, changes = [], []
    for number in range(CHANGES):
        started = time.perf_counter()
        changed = fragment(number, ENDPOINTS - 1 - number % 2)
        transaction = ruleset.change({f"service/{number}": changed})
        computed = time.perf_counter()
        nftables.run(transaction)
        computing.append((computed - started) * 1000)
        changes.append((time.perf_counter() - started) * 1000)
    median = statistics.median(changes)
    print(
        f"{name:<14} whole table {whole:7.0f} ms   one change: median {median:6.2f} ms,"
        f" p95 {sorted(changes)[int(CHANGES * 0.95)]:6.2f} ms"
        f" (of it {statistics.median(computing):.2f} ms computing rules)"
    )
    return median


def main() -> int:
    if os.geteuid() != 0:
        print("skipped: nftables needs root")
        return 0
    if os.environ.get("KYBERN_BENCH_INSIDE") != "1":
        environment = os.environ | {"KYBERN_BENCH_INSIDE": "1"}
        os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], environment)
    print(f"{SERVICES} Services of {ENDPOINTS} endpoints")
    try:
        library = measure("libnftables", LibNftables)
    except (ImportError, OSError) as error:
        print(f"libnftables    skipped: {error}")
        return 0
    program = measure("nft -f -", NftProgram)
    print(f"one change through the program costs {program / library:.1f} times as much")
    return 0


if __name__ == "__main__":
    sys.exit(main())
