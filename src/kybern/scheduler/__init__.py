"""The scheduler: which node runs which pod.

Two halves meet here. The decision core is pure: ``columns/`` keeps the cluster as numpy arrays,
``plugins/`` judges nodes (one file each), ``pod_class.py`` remembers judgements per class of equal
pods, ``row_totals.py`` and ``node_facts.py`` what classes share of them, ``lookalikes.py`` which
nodes a class cannot tell apart; ``decision.py`` picks a node or says why there is none
(``blame.py``), ``simulate.py`` runs the core on a snapshot. Around it: ``queue.py`` holds pending
pods, ``scheduler.py`` feeds the core from informers (``kept_objects.py`` is what it keeps) and
takes decisions, ``binding.py`` carries them out (``prebind.py`` first, where volumes or devices
were promised), ``preemptor.py`` evicts, ``extenders/`` asks programs of others, ``explain/`` tells
people why, ``serving.py`` is the HTTPS port, and ``main.py`` runs it all against any Kubernetes API
server. Packages add plugins (``plugins/registry.py``).
"""
