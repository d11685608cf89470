"""One node's pods: the agent that drives a container runtime towards what the API server wants.

``sources/`` hands pods to ``pods/`` (one worker per pod), which compares the spec with what the
runtime reports (``cri/state.py``), decides (``pods/actions.py``), acts (``pods/sync.py``) and
reports (``status/``). ``admission/`` says which pods the node takes and what it grants them,
``cgroups/`` holds them to that, ``eviction/`` and ``guards.py`` keep it from running full. The
runtime is the only truth about containers: on disk stands only what a pod was granted, which nobody
else could tell, so a kubelet may be killed at any instant.
"""
