"""The scheduler's flags, named as upstream's."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass
class Config:
    """Flags of ``kybern run scheduler``."""

    scheduler_config: str = flag("", "Path of a KubeSchedulerConfiguration file.")
    bind_address: str = flag("0.0.0.0", "Address of the HTTPS port.", name="scheduler-bind-address")
    secure_port: int = flag(
        0,
        "Serve health, metrics and the configuration over HTTPS on this port, to those whom the "
        "API server allows it (upstream's port is 10259; 0: do not).",
        name="scheduler-secure-port",
    )
    tls_cert_file: str = flag(
        "",
        "Certificate of the HTTPS port (empty: one is made).",
        name="scheduler-tls-cert-file",
    )
    tls_private_key_file: str = flag(
        "", "Key of that certificate.", name="scheduler-tls-private-key-file"
    )
    leader_elect: bool = flag(True, "Take the Lease kube-system/kube-scheduler before working.")
