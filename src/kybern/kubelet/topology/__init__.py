"""On which NUMA nodes a pod gets what it asks for: the topology manager (KEP-693).

The managers of devices, CPUs and memory each know where a container could have its share: they give
``hints.py``. ``manager.py`` goes through the containers of a new pod and lets every manager give;
where the policy is another than ``none``, ``aligning.py`` first asks all of them for their hints,
``merging.py`` finds the nodes that suit them all best, and a pod for which there are none may be
refused. ``numa.py`` reads the machine's nodes, for whoever needs them.
"""
