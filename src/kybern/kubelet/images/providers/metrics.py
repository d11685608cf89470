"""What ``/metrics`` says of credential provider plugins, under upstream's names."""

from prometheus_client import Counter, Gauge, Histogram

ERRORS = Counter(
    "kubelet_credential_provider_plugin_errors",
    "Number of errors from credential provider plugin",
    ("plugin_name",),
)
DURATION = Histogram(
    "kubelet_credential_provider_plugin_duration",
    "Duration of execution in seconds for credential provider plugin",
    ("plugin_name",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_CONFIG = Gauge(
    "kubelet_credential_provider_config_info",
    "Information about the last applied credential provider configuration with hash as label",
    ("hash",),
)


def configured(digest: str) -> None:
    """The node works with this configuration now."""
    _CONFIG.clear()
    _CONFIG.labels(digest).set(1)
