"""Flags of the controller manager; names and defaults are kube-controller-manager's."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass
class Config:
    """What ``kybern run controller-manager`` takes."""

    controllers: tuple[str, ...] = flag(
        ("*",), "Controllers to run: '*' for all, 'foo' to name one, '-foo' to leave one out."
    )
    use_service_account_credentials: bool = flag(
        True, "Let every controller write with the rights of its own service account."
    )
    leader_elect: bool = flag(True, "Work only while holding the leader lease.")
    cluster_cidr: str = flag("10.244.0.0/16", "Addresses of pods; nodes get their ranges from it.")
    allocate_node_cidrs: bool = flag(True, "Give every node a range of the cluster CIDR.")
    node_cidr_mask_size: int = flag(24, "Prefix length of a node's pod range.")
    service_cluster_ip_range: str = flag("10.96.0.0/16", "Addresses of services.")
    root_ca_file: str = flag("", "CA certificate published to every namespace.")
    service_account_private_key_file: str = flag(
        "", "Key that signs service account token secrets; without it they stay empty."
    )
    legacy_service_account_token_clean_up_period: float = flag(
        365 * 86400.0, "Seconds without use after which generated tokens of accounts are retired."
    )
    node_monitor_period: float = flag(5.0, "Seconds between looks at the nodes' health.")
    node_monitor_grace_period: float = flag(
        50.0, "Seconds without a sign of life after which a node counts as unhealthy."
    )
    terminated_pod_gc_threshold: int = flag(
        12500, "Terminated pods that may stay before the oldest are deleted."
    )
    resource_quota_sync_period: float = flag(
        300.0, "Seconds after which the usage of every quota is counted anew."
    )
    cluster_signing_cert_file: str = flag(
        "", "CA certificate that signs certificate requests; without it none are signed."
    )
    cluster_signing_key_file: str = flag("", "Key of the CA that signs certificate requests.")
    cluster_signing_duration: float = flag(
        365 * 86400.0, "Longest life, in seconds, of certificates that are signed."
    )
