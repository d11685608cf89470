"""Ingress, network policy and service addresses."""
