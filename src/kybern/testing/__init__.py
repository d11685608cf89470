"""The public pytest plugin: the same doors that Kybern's own tests use. A composition root.

``cluster.py`` holds :class:`Cluster`, a whole cluster in this process; ``virtual_time.py`` the
clock and loop that make its hours pass in milliseconds; ``plugin.py`` the fixtures and the marker
that pytest finds by itself once Kybern is installed.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kybern.testing.cluster import Cluster
    from kybern.testing.virtual_time import VirtualClock, VirtualTimeLoop, advance, run

__all__ = ["Cluster", "VirtualClock", "VirtualTimeLoop", "advance", "run"]


def __getattr__(name: str) -> Any:
    """Import on first use: pytest loads this package in every run, with or without a cluster."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(name)
    module = "cluster" if name == "Cluster" else "virtual_time"
    return getattr(import_module(f"kybern.testing.{module}"), name)
