"""API priority and fairness: who is served first when not everybody can be served at once.

The pipeline calls :meth:`FlowControl.enter` for every request whose user is known. FlowSchemas
(``schemas.py``) say which PriorityLevelConfiguration a request belongs to and which flow of that
level it is part of. A level has seats (``levels.py`` divides the server's among them, and
``borrowing.py`` moves idle ones to where they are wanted); a request takes one or more while it is
carried out (``work.py``). When a level's seats are all taken, its requests wait in queues, each
flow in a few of many (``shuffle_sharding.py``), and are called by fair queuing
(``queue_set.py``), or they are turned away with 429.

``producer.py`` maintains the objects that every cluster has (``bootstrap_objects.py``);
``consumer.py`` follows the stored ones and keeps their Dangling condition. The method is
upstream's (KEP-1040). Where nothing waits, a request costs one look-up of its classification and
some additions; nothing here uses threads, so it replays on virtual time.
"""

from kybern.apiserver.flow_control.flow_control import FlowControl

__all__ = ["FlowControl"]
