"""The command line for the API: one file per verb, generic over kinds.

``main.py`` collects the verbs, ``session.py`` is what each of them works with (client, namespace,
discovery), ``manifests.py`` reads objects from files, ``printers.py`` writes them out. Kinds are
found by discovery, so custom resources are like any other. It works against any Kubernetes API
server.
"""
