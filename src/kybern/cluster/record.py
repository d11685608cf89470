"""What a cluster is, on disk: ``DIR/record.json``, written by ``up``, read by everything after it.

It holds what the user asked for, so that ``kybern up`` after a reboot brings the same cluster back
without its flags, and the process groups that follow from it.
"""

import ipaddress
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

DEFAULT_PORT = 6443
CLUSTER_CIDR = "10.244.0.0/16"
SERVICE_CLUSTER_IP_RANGE = "10.96.0.0/16"


def default_data_dir() -> Path:
    """``/var/lib/kybern`` as root, the user's data directory otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/kybern")
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base) / "kybern"


def default_kubeconfig() -> Path:
    """The local cluster's kubeconfig if there is one, else the usual place."""
    local = default_data_dir() / "kubeconfig"
    return local if os.access(local, os.R_OK) else Path.home() / ".kube" / "config"


@dataclass(frozen=True)
class Record:
    """One cluster. ``advertise_address`` is where nodes and pods reach the API server.

    ``flags`` go to components as they are, each written ``COMPONENT:NAME=VALUE``. Mirrors are
    written ``HOST=URL``; ``registry_config`` is a directory, "" if there is none.
    """

    data_dir: Path
    secure_port: int = DEFAULT_PORT
    nodes: int = 0
    simulated_nodes: int = 0
    disable: tuple[str, ...] = ()
    advertise_address: str = "127.0.0.1"
    verbosity: int = 2
    flags: tuple[str, ...] = ()
    cluster_cidr: str = CLUSTER_CIDR
    service_cluster_ip_range: str = SERVICE_CLUSTER_IP_RANGE
    registry_mirrors: tuple[str, ...] = ()
    registry_config: str = ""

    @property
    def cluster_dns(self) -> str:
        """The address of DNS: the tenth of the range of Services, as everywhere."""
        return str(ipaddress.IPv4Network(self.service_cluster_ip_range)[10])

    def flags_of(self, *components: str) -> list[str]:
        """The extra flags of these components, as their command line takes them."""
        parted = [text.partition(":") for text in self.flags]
        return [f"--{flag}" for component, _, flag in parted if component in components]

    @property
    def has_peers(self) -> bool:
        """Whether other control planes may work on the same objects, in an etcd that they share."""
        return any(flag.startswith("--etcd-servers=") for flag in self.flags_of("apiserver"))

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.data_dir / "logs"

    def save(self) -> None:
        """Write the record whole or not at all."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        values = {**asdict(self), "data_dir": str(self.data_dir)}
        partial = record_file(self.data_dir).with_suffix(".partial")
        partial.write_text(json.dumps(values, indent=1))
        partial.replace(record_file(self.data_dir))

    @classmethod
    def load(cls, data_dir: Path) -> "Record":
        """Raises FileNotFoundError where no cluster was ever started."""
        values = json.loads(record_file(data_dir).read_text())
        values["disable"] = tuple(values["disable"])
        for name in ("flags", "registry_mirrors"):
            values[name] = tuple(values.get(name, ()))
        return cls(**{**values, "data_dir": data_dir})


def record_file(data_dir: Path) -> Path:
    return data_dir / "record.json"


def component_kubeconfig(data_dir: Path, component: str) -> Path:
    """The credentials of one component of the control plane."""
    return data_dir / "credentials" / f"{component}.kubeconfig"


def _ranges(record: Record, control: list[str]) -> list[str]:
    """The scheduler has no use for addresses, and no flags for them."""
    if "controller-manager" not in control:
        return []
    return [
        f"--cluster-cidr={record.cluster_cidr}",
        f"--service-cluster-ip-range={record.service_cluster_ip_range}",
    ]


def processes(record: Record) -> list[tuple[str, list[str]]]:
    """The control plane's process groups: a name for the log, and arguments of ``kybern``."""
    directory = record.data_dir
    pki = directory / "pki"
    verbosity = f"--v={record.verbosity}"
    groups = [
        (
            "apiserver",
            [
                "run",
                "apiserver",
                f"--data-dir={directory}",
                f"--secure-port={record.secure_port}",
                f"--advertise-address={record.advertise_address}",
                f"--service-cluster-ip-range={record.service_cluster_ip_range}",
                verbosity,
                *record.flags_of("apiserver"),
            ],
        )
    ]
    control = [name for name in ("controller-manager", "scheduler") if name not in record.disable]
    if control:
        groups.append(
            (
                "control",
                [
                    "run",
                    *control,
                    f"--credentials={directory / 'credentials'}",
                    f"--root-ca-file={pki / 'ca.crt'}",
                    f"--cluster-signing-cert-file={pki / 'ca.crt'}",
                    f"--cluster-signing-key-file={pki / 'ca.key'}",
                    f"--service-account-private-key-file={pki / 'sa.key'}",
                    f"--leader-elect={str(record.has_peers).lower()}",
                    *_ranges(record, control),
                    verbosity,
                    *record.flags_of(*control),
                ],
            )
        )
    if record.simulated_nodes:
        groups.append(
            (
                "simulated-nodes",
                [
                    "run",
                    "hollow",
                    f"--credentials={directory / 'credentials'}",
                    f"--simulated-nodes={record.simulated_nodes}",
                    verbosity,
                    *record.flags_of("hollow"),
                ],
            )
        )
    return groups
