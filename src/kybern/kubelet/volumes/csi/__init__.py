"""Volumes of CSI drivers: drivers are processes of the node that the kubelet calls over gRPC.

A driver registers (``drivers.py``), which publishes it in the CSINode (``node_info.py``). A volume
is attached by the cluster first (``attachments.py``), then staged once for the node and published
for each pod (``volumes.py``). ``record.py`` keeps on disk what has to be undone.
"""
