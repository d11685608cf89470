"""How every component speaks to an API server: transport, verbs, informers, work queues,
leader election, events.

``transport.py`` and ``https.py`` carry bytes (straight into a handler in this process, or over
HTTPS), ``client.py`` puts the API's verbs on them, ``informer.py`` keeps local copies true,
``work_queue.py`` turns their changes into keyed work. A component gets a :class:`Client` and knows
nothing of its transport.
"""

from kybern.client.client import Client, ClientResponse
from kybern.client.event_series import SeriesRecorder
from kybern.client.events import EventRecorder
from kybern.client.informer import Informer, Informers
from kybern.client.leader_election import LeaderElector
from kybern.client.transport import ApiUnreachable
from kybern.client.work_queue import WorkQueue

__all__ = [
    "ApiUnreachable",
    "Client",
    "ClientResponse",
    "EventRecorder",
    "Informer",
    "Informers",
    "LeaderElector",
    "SeriesRecorder",
    "WorkQueue",
]
