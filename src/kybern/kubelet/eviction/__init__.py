"""Keeps the node alive when memory, disk, inodes or process ids run short, at the cost of pods.

``signals.py`` observes the node, ``thresholds.py`` says when a shortage counts, ``usage.py``
measures pods, ``ranking.py`` chooses one, and ``manager.py`` does it, every ten seconds. What may
be given up without ending a pod (unused images, dead containers) goes first.
"""
