"""Assigns pods to nodes: the queue, the columns, one file per plugin."""
