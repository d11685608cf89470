"""Simulated nodes: everything an API client sees of a node and its pods, without containers.

``main.run`` registers nodes and keeps their leases (``registration.py``), follows all their pods
through one watch (``pod_lives.py``) and moves each along its stages on the clock (``stages.py``,
``statuses.py``). One process carries thousands of nodes, because nothing is per node but a Node, a
Lease and an address range.
"""
