"""What ``/metrics`` says of pods' certificates, under upstream's name."""

from collections.abc import Mapping

from prometheus_client import Gauge

_STATES = Gauge(
    "kubelet_podcertificate_states",
    "Number of sources of projected volumes that hold a pod's certificate, by signer and state.",
    ("signer_name", "state"),
)


def show(counts: Mapping[tuple[str, str], int]) -> None:
    """How many there are, by signer and state."""
    _STATES.clear()
    for (signer, state), count in counts.items():
        _STATES.labels(signer, state).set(count)
