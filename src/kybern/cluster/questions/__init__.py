"""Questions that people ask of any cluster: why is this pod there, and what if things changed?

``commands.py`` declares ``kybern why`` and ``kybern whatif``; ``why.py`` reads explanations and
``why_text.py`` shows them; ``cluster_snapshot.py`` reads what decisions rest on, ``nodes.py`` takes
nodes away and adds some, ``expansion.py`` and ``claims.py`` make pods and claims of manifests,
``whatif.py`` runs the scheduler on them and ``whatif_text.py`` shows the outcome. Nothing here
writes to the cluster.
"""
