"""Bringing clusters up: certificates, processes, nodes on one machine. A composition root."""
