"""The cluster as columns: node rows, label columns, interned taints, pods placed, change logs.

``cluster.ClusterColumns`` is the door; plugins read columns through it and never keep objects.
"""
