"""What a node is: name, addresses, files. Written by ``up``, read by everything in this room.

All that a node owns on the machine can be derived from its data directory and its name, so that
``clean`` finds every piece of it even when no process and no record is left.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Interface names have at most 15 characters: a prefix of ours and this many of the identity.
_IDENTITY_LENGTH = 6
COMPONENTS = ("kubelet", "proxy", "dns", "local-path")


def identity(data_dir: Path) -> str:
    """Six hexadecimal digits that stand for a data directory in names of interfaces and cgroups."""
    return hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:_IDENTITY_LENGTH]


@dataclass(frozen=True)
class NodeSpec:
    """One real node of this machine.

    ``namespaced`` nodes live in a network namespace of their own on the data directory's bridge;
    otherwise the machine itself is the node and ``node_ip`` is one of its addresses. ``flags`` go
    to ``kybern run`` as they are. ``pod_cidr`` is normally None: the node learns it from its Node
    object, where the cluster's node IPAM writes it. ``registry_mirrors`` are written ``HOST=URL``;
    ``registry_config`` is a directory of the user's in containerd's hosts form, "" if none.
    """

    name: str
    data_dir: Path
    namespaced: bool
    node_ip: str
    kubeconfig: Path
    cluster_dns: str = "10.96.0.10"
    cluster_domain: str = "cluster.local"
    cluster_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str | None = None
    components: tuple[str, ...] = COMPONENTS
    flags: tuple[str, ...] = field(default=())
    registry_mirrors: tuple[str, ...] = ()
    registry_config: str = ""


class Node:
    """A node's names and paths."""

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.identity = identity(spec.data_dir)
        self.directory = spec.data_dir / "nodes" / spec.name
        self.spec_file = self.directory / "node.json"
        self.lock_file = self.directory / "supervisor.lock"
        self.pid_file = self.directory / "supervisor.pid"
        self.sysctl_record = self.directory / "sysctls.json"
        self.containerd = self.directory / "containerd"
        self.socket = self.containerd / "containerd.sock"
        self.registries = self.containerd / "certs.d"
        self.kubelet_root = self.directory / "kubelet"
        self.local_path_dir = self.directory / "local-path"
        self.cni_conf_dir = self.directory / "cni" / "net.d"
        self.cni_data_dir = self.directory / "cni" / "data"
        self.log = spec.data_dir / "logs" / f"node-{spec.name}.log"
        self.cgroup = f"kybern-{self.identity}/{spec.name}"

    @property
    def cni_network(self) -> str:
        """The CNI network's name, by which the plugins' leftovers are told from others'."""
        return f"kybern-{self.identity}"

    @property
    def netns(self) -> str:
        """The name of the node's network namespace under /run/netns."""
        return f"kybern-{self.identity}-{self.name}"

    @property
    def veth(self) -> str:
        """The bridge's end of the node's cable; the node's end is called eth0."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        return f"kn{self.identity}{digest[:6]}"

    def save(self) -> None:
        """Write the spec where the supervisor and a later ``down`` read it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        values = asdict(self.spec) | {
            "data_dir": str(self.spec.data_dir),
            "kubeconfig": str(self.spec.kubeconfig),
        }
        partial = self.spec_file.with_suffix(".partial")
        partial.write_text(json.dumps(values, indent=1))
        partial.replace(self.spec_file)

    @classmethod
    def load(cls, spec_file: Path) -> "Node":
        """Read what :meth:`save` wrote; raises OSError, ValueError."""
        values = json.loads(spec_file.read_text())
        values["data_dir"] = Path(values["data_dir"])
        values["kubeconfig"] = Path(values["kubeconfig"])
        values["components"] = tuple(values["components"])
        values["flags"] = tuple(values["flags"])
        values["registry_mirrors"] = tuple(values.get("registry_mirrors", ()))
        return cls(NodeSpec(**values))


def known_nodes(data_dir: Path) -> list[Node]:
    """The nodes that were ever started under a data directory, by name."""
    return [Node.load(file) for file in sorted((data_dir / "nodes").glob("*/node.json"))]
