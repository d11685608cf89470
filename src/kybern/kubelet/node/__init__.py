"""The Node object: its registration, its status, its Lease."""
