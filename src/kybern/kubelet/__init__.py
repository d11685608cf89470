"""One node's pods: the agent that drives a container runtime towards what the API server wants.

``sources/`` hands pods to ``pods/`` (one worker per pod), which compares the spec with what the
runtime reports (``cri/state.py``), decides (``pods/actions.py``), acts (``pods/sync.py``) and
reports (``status/``). The runtime is the only truth about containers: nothing is remembered on disk
that cannot be found again there, so a kubelet may be killed at any instant.
"""
