"""The public pytest plugin: the same doors that Kybern's own tests use. A composition root."""
