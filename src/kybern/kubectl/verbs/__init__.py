"""One file a verb: a ``command`` with its flags, and ``run(session, **flags)``."""
