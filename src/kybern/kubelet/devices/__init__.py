"""Devices that programs of the node offer: GPUs, network cards, whatever has a plugin.

``plugins.py`` speaks with the plugins and knows what they offer; ``manager.py`` gives devices to
pods when they are admitted, and tells containers how to reach them.
"""
