"""A pod's status: made from what is known (pure), and written to the API server."""
