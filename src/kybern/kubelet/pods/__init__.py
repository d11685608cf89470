"""Pods as the kubelet works on them: a worker each, what to do next, and doing it."""
