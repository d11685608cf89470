"""The simulated node: pod life on the clock, thousands of nodes at little cost."""
