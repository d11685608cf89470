"""The core group: pods, services, nodes, configuration and volumes."""
