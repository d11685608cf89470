"""Devices that programs of the node offer: GPUs, network cards, whatever has a plugin.

``plugins.py`` speaks with the plugins and knows what they offer; ``share.py`` chooses devices for a
pod that is admitted, near the NUMA nodes that it is to have; ``manager.py`` keeps who has which,
and tells containers how to reach them.
"""
