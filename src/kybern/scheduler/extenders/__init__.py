"""Extenders: programs of others that are asked over HTTP, as a KubeSchedulerConfiguration says.

``settings.py`` reads and checks the configuration, ``http_extender.py`` is the conversation with
one extender, ``errors.py`` what it may end in, ``asking.py`` takes decisions, preemptions and
bindings with all of them. Only pods that an extender is interested in take this way; all others
never notice.
"""
