"""How every component speaks to an API server: transport, verbs, informers, work queues,
leader election, events."""
