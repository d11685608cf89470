"""The public pytest plugin: the same doors that Kybern's own tests use. A composition root.

``cluster.py`` holds :class:`Cluster`, a whole cluster in this process; ``virtual_time.py`` the
clock and loop that make its hours pass in milliseconds; ``plugin.py`` the fixtures and the marker
that pytest finds by itself once Kybern is installed.
"""

from kybern.testing.cluster import Cluster
from kybern.testing.virtual_time import VirtualClock, VirtualTimeLoop, advance, run

__all__ = ["Cluster", "VirtualClock", "VirtualTimeLoop", "advance", "run"]
