"""The scheduler's plugins: one file each, named as upstream's plugin in snake case.

``registry.find_plugin`` knows them all; ``configuration.py`` says which a profile enables.
"""
