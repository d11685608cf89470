"""Credential provider plugins: programs of the node that know logins of registries (KEP-2133).

``configuration.py`` reads which there are, ``validation.py`` judges that, ``provider.py`` decides
whether one is asked and keeps its answers, ``plugin.py`` runs it. Nothing of this is loaded where
no plugin is configured.
"""
