"""The API server's settings: upstream's flags, with defaults that make a server usable alone.

Empty file names are filled in by ``credentials.py`` when the server runs as a process; a server in
process (tests) needs no files at all.
"""

from dataclasses import dataclass

from kybern.apiserver.api_enablement import SWITCHABLE_GATES
from kybern.component.feature_gates import switches_help
from kybern.component.flags import BadFlag, flag


@dataclass
class Config:
    """What ``kybern run apiserver`` and ``kybern up`` pass on."""

    data_dir: str = flag("", "Directory of the store, certificates and kubeconfig.", "data-dir")
    etcd_servers: tuple[str, ...] = flag(
        (), "URLs of an etcd that keeps the objects; without them they are in DIR/store.db."
    )
    etcd_cafile: str = flag("", "PEM file with the authorities of etcd's certificates.")
    etcd_certfile: str = flag("", "Client certificate for etcd.")
    etcd_keyfile: str = flag("", "Key of the client certificate for etcd.")
    etcd_prefix: str = flag("/registry", "What the keys of all objects in etcd begin with.")
    etcd_compaction_interval: int = flag(
        300, "Seconds of history that watches and continued lists can rely on; 0 keeps all."
    )
    event_ttl: int = flag(3600, "Seconds that etcd keeps an event after its last change.")
    secure_port: int = flag(6443, "Port to serve HTTPS on; 0 lets the system choose.")
    bind_address: str = flag("0.0.0.0", "Address to listen on.")
    advertise_address: str = flag(
        "", "Address that nodes and pods reach this server at; found out if empty."
    )
    service_cluster_ip_range: str = flag(
        "10.96.0.0/16", "CIDR of cluster IPs; two, separated by a comma, for both families."
    )
    service_node_port_range: str = flag("30000-32767", "Ports for NodePort services.")
    service_account_issuer: tuple[str, ...] = flag(
        ("https://kubernetes.default.svc.cluster.local",),
        "Issuers of service account tokens; the first signs, all are accepted.",
    )
    service_account_key_file: tuple[str, ...] = flag(
        (), "PEM files with public keys that verify service account tokens."
    )
    service_account_signing_key_file: str = flag(
        "", "PEM file with the private key that signs service account tokens."
    )
    service_account_jwks_uri: str = flag(
        "",
        "URI that OIDC discovery names for the keys, where it is not this server.",
        "service-account-jwks-uri",
    )
    service_account_max_token_expiration: int = flag(
        0, "Longest validity of a token in seconds; 0 for no limit."
    )
    service_account_extend_token_expiration: bool = flag(
        True, "Let projected tokens live a year, with a warning, while pods learn to reload them."
    )
    api_audiences: tuple[str, ...] = flag(
        (), "Audiences that tokens must be for; the issuers if empty."
    )
    client_ca_file: str = flag("", "PEM file with the authorities of client certificates.")
    tls_cert_file: str = flag("", "PEM file with the serving certificate.")
    tls_private_key_file: str = flag("", "PEM file with the key of the serving certificate.")
    kubelet_client_certificate: str = flag("", "Client certificate for connections to kubelets.")
    kubelet_client_key: str = flag("", "Key of the client certificate for kubelets.")
    kubelet_certificate_authority: str = flag("", "PEM file with the authorities of kubelets.")
    requestheader_client_ca_file: str = flag(
        "", "PEM file with the authorities of proxies that vouch for users by headers."
    )
    requestheader_allowed_names: tuple[str, ...] = flag(
        ("front-proxy-client",), "Common names of those proxies; any name if empty."
    )
    requestheader_username_headers: tuple[str, ...] = flag(
        ("X-Remote-User",), "Headers in which they name the user."
    )
    requestheader_uid_headers: tuple[str, ...] = flag(
        ("X-Remote-Uid",), "Headers in which they name the user's uid."
    )
    requestheader_group_headers: tuple[str, ...] = flag(
        ("X-Remote-Group",), "Headers in which they name groups."
    )
    requestheader_extra_headers_prefix: tuple[str, ...] = flag(
        ("X-Remote-Extra-",), "Prefixes of headers with extra attributes of the user."
    )
    enable_bootstrap_token_auth: bool = flag(
        False, "Let machines in that hold the token of a bootstrap Secret."
    )
    token_auth_file: str = flag("", "CSV file of static bearer tokens.")
    anonymous_auth: bool = flag(True, "Serve requests without credentials as system:anonymous.")
    authorization_mode: tuple[str, ...] = flag(
        ("Node", "RBAC"), "Authorizers in order: Node, RBAC, AlwaysAllow, AlwaysDeny."
    )
    enable_admission_plugins: tuple[str, ...] = flag(
        ("NodeRestriction",), "Admission plugins to enable beside the default ones."
    )
    disable_admission_plugins: tuple[str, ...] = flag(
        (), "Admission plugins to disable although they are on by default."
    )
    admission_control_config_file: str = flag(
        "", "YAML file with the configurations of admission plugins."
    )
    runtime_config: tuple[str, ...] = flag(
        (),
        "Pairs of an API and true or false: api/all, api/ga, api/beta or api/alpha; GROUP/VERSION "
        "(/v1 is the core group's); GROUP/VERSION/RESOURCE. Beta and alpha versions are off.",
    )
    feature_gates: tuple[str, ...] = flag((), switches_help(SWITCHABLE_GATES))
    enable_priority_and_fairness: bool = flag(
        True, "Queue and turn away requests by FlowSchemas and PriorityLevelConfigurations."
    )
    max_requests_inflight: int = flag(
        2000,
        "Without priority and fairness, reads that are answered at once; with it, this and "
        "--max-mutating-requests-inflight add up to the seats of all levels.",
    )
    max_mutating_requests_inflight: int = flag(
        1000, "Writes that are carried out at once; see --max-requests-inflight."
    )
    default_not_ready_toleration_seconds: int = flag(
        300, "How long pods stay on a node that is not ready, by default."
    )
    default_unreachable_toleration_seconds: int = flag(
        300, "How long pods stay on a node that is unreachable, by default."
    )

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences that this server answers to."""
        return self.api_audiences or self.service_account_issuer

    @property
    def node_ports(self) -> range:
        """The ports for NodePort services; raises ValueError for a broken flag."""
        first, dash, last = self.service_node_port_range.partition("-")
        ports = range(int(first), int(last if dash else first) + 1)
        if not ports or ports[0] < 1 or ports[-1] > 65535:
            raise BadFlag(f"invalid node port range: {self.service_node_port_range}")
        return ports
