"""A revisioned key-value store: one interface, several drivers. Only the API server uses it."""
