"""Volumes: set up before a pod's containers, kept up to date, and taken down after them."""
