"""Kybern: Kubernetes, whole, in Python. ARCHITECTURE.md walks through the rooms."""
