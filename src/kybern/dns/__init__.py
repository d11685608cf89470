"""Cluster DNS: answers for services and pods, forwards the rest."""
