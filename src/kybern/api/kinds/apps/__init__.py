"""Workloads that keep sets of pods: deployments and their like."""
