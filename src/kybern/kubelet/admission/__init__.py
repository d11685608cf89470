"""Whether this node takes a pod, and which resources it grants it.

``gate.py`` judges every new pod (``predicates.py``, and whatever else has a say: eviction, a
shutdown) and every resize. What it grants is kept on disk (``allocations.py``), so that a kubelet
that was killed goes on with the pods and sizes that its predecessor admitted.
"""
