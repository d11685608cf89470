"""What ``/metrics`` says of the node's certificates, under upstream's names."""

import math
from dataclasses import dataclass

from prometheus_client import Gauge, Histogram

# Gauges, although they count: upstream's names lack the ending that the library gives to counters.
_CLIENT_ERRORS = Gauge(
    "kubelet_certificate_manager_client_expiration_renew_errors",
    "Counter of certificate renewal errors.",
)
_SERVING_ERRORS = Gauge(
    "kubelet_server_expiration_renew_errors",
    "Counter of certificate renewal errors.",
)
_CLIENT_TTL = Gauge(
    "kubelet_certificate_manager_client_ttl_seconds",
    "Seconds until the kubelet's client certificate expires, negative afterwards; "
    "+Inf without a certificate.",
)
_SERVING_TTL = Gauge(
    "kubelet_certificate_manager_server_ttl_seconds",
    "Seconds until the kubelet's serving certificate expires, negative afterwards; "
    "+Inf without a certificate.",
)
_DAY = 86400
_SERVING_AGE = Histogram(
    "kubelet_certificate_manager_server_rotation_seconds",
    "How many seconds the previous serving certificate had lived when it was replaced.",
    buckets=(60, 3600, 4 * 3600, *(_DAY * days for days in (1, 7, 30, 90, 180, 360, 1440))),
)
for _ttl in (_CLIENT_TTL, _SERVING_TTL):
    _ttl.set(math.inf)


@dataclass(frozen=True, slots=True)
class CertificateMetrics:
    """The metrics of one certificate; upstream keeps the age of the serving one only."""

    errors: Gauge
    ttl: Gauge
    age: Histogram | None = None


CLIENT_METRICS = CertificateMetrics(_CLIENT_ERRORS, _CLIENT_TTL)
SERVING_METRICS = CertificateMetrics(_SERVING_ERRORS, _SERVING_TTL, _SERVING_AGE)
