"""Connection tracking entries that outlived their endpoint.

TCP notices that its peer is gone; a UDP client that keeps its socket would be led to an endpoint
that no longer exists, or past a Service that had none, for as long as it keeps sending. After a
change of a UDP Service the proxy compares every tracked UDP flow with what is wanted and deletes
the stale ones. Uses the ``conntrack`` program, which lists thousands of flows in milliseconds.
"""

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

# At most this many deletions a round; what is left is found by the next one.
MAX_DELETIONS = 500
_SECONDS = 10

Place = tuple[str, int]


class Flow(NamedTuple):
    """Where the client sends to, and who answers."""

    destination: Place
    answers: Place


@dataclass
class Wanted:
    """UDP endpoints by Service address and port, and by node port; an empty set wants none."""

    places: dict[Place, set[Place]] = field(default_factory=dict)
    node_ports: dict[int, set[Place]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.places or self.node_ports)

    def add(self, other: "Wanted", *, without_endpoints: bool = False) -> None:
        """Take over another's addresses and ports, if asked to as ones that lead nowhere now."""
        for place, endpoints in other.places.items():
            self.places.setdefault(place, set()).update(() if without_endpoints else endpoints)
        for port, endpoints in other.node_ports.items():
            self.node_ports.setdefault(port, set()).update(() if without_endpoints else endpoints)


def parse(listing: str) -> Iterator[Flow]:
    """Flows from what ``conntrack -L`` prints; lines of another form are skipped."""
    for line in listing.splitlines():
        sources: list[str] = []
        destinations: list[str] = []
        source_ports: list[int] = []
        destination_ports: list[int] = []
        columns: Mapping[str, list] = {
            "src": sources,
            "dst": destinations,
            "sport": source_ports,
            "dport": destination_ports,
        }
        for word in line.split():
            name, _, value = word.partition("=")
            if name in columns:
                columns[name].append(int(value) if name.endswith("port") else value)
        if len(sources) == len(source_ports) == len(destinations) == len(destination_ports) == 2:
            yield Flow((destinations[0], destination_ports[0]), (sources[1], source_ports[1]))


def stale(flows: Iterable[Flow], wanted: Wanted) -> list[Flow]:
    """The distinct flows that lead somewhere a Service does not lead any more."""
    found: dict[Flow, None] = {}
    for flow in flows:
        endpoints = wanted.places.get(flow.destination)
        if endpoints is None and flow.answers != flow.destination:
            endpoints = wanted.node_ports.get(flow.destination[1])
        if endpoints is not None and flow.answers not in endpoints:
            found[flow] = None
    return list(found)


def clean(wanted: Wanted) -> int:
    """Delete stale UDP flows of this network namespace; how many kinds of them. Blocking."""
    program = shutil.which("conntrack", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return 0
    listing = _run(program, "-L", "-p", "udp")
    deletions = stale(parse(listing), wanted)[:MAX_DELETIONS]
    for flow in deletions:
        address, port = flow.destination
        answering, _ = flow.answers
        _run(
            *(program, "-D", "-p", "udp", "--orig-dst", address, "--orig-port-dst", str(port)),
            *("--reply-src", answering),
        )
    return len(deletions)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    return done.stdout
