"""The node API on port 10250: logs, exec, attach, port-forward, pods, statistics."""
