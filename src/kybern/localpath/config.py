"""The flags of the local-path provisioner (``kybern run local-path``)."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass(frozen=True)
class Config:
    """One node's provisioner."""

    hostname_override: str = flag("", "Name of the node; the machine's host name by default.")
    local_path_dir: str = flag(
        "/var/lib/kybern/local-path", "Directory in which this node's volumes are made."
    )
    local_path_kubeconfig: str = flag(
        "", "Credentials of the provisioner; those of the process by default."
    )
