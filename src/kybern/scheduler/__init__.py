"""The scheduler: which node runs which pod.

Two halves meet here. The decision core is pure: ``columns/`` keeps the cluster as numpy arrays,
``plugins/`` judges nodes (one file each), ``pod_class.py`` remembers judgements per class of equal
pods, ``decision.py`` picks a node or says why there is none, ``simulate.py`` runs the core on a
snapshot. Around it: ``queue.py`` holds pending pods, ``scheduler.py`` feeds the core from
informers, takes decisions and sends the binds (``prebind.py`` first, where volumes or devices must
be promised), ``preemptor.py`` evicts, ``extenders/`` asks
others, ``explain/`` tells why, and ``main.py`` runs it all
against any Kubernetes API server. Packages add plugins (``plugins/registry.py``).
"""
