"""Probes: asking a container how it is (``checks``), and when and what follows (``manager``)."""
