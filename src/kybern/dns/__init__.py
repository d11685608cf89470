"""Cluster DNS: answers for Services and pods, forwards the rest.

``main.py`` is the component, one per node. A question's way: ``server.py`` (UDP, TCP) ->
``resolver.py`` (parse, limits of size, flags) -> ``zone.py`` for names of the cluster, over the
informers of ``directory.py``, or ``forward.py`` for all others.
``publish.py`` makes the server reachable as the Service ``kube-system/kube-dns``.
"""
