"""The built-in storage class: volumes that are directories, or images of a fixed size, of one node.

``kybern run local-path`` is an external provisioner like any other, one on each node: it watches
the claims that the scheduler has sent to its node, makes the place (``places.py``), and creates
the volume (``provisioner.py``); a released volume it wipes, a claim that asks for more it grows.
It is a process of the node because only that reaches the node's disk, and it has credentials of its
own because a kubelet must not write volumes: their affinity and paths decide what pods see.
"""
