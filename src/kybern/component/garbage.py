"""How often a server process looks for reference cycles.

``kybern run`` and the API server's start call :func:`settle` once their modules, schemas and caches
are in memory. Objects are plain JSON without cycles, so Python's default, a look after every 700
new containers, spends a seventh of a write's CPU on finding nothing.
"""

import gc

# New containers before a look at the youngest: those of about a hundred writes of a pod.
_YOUNG = 20_000
_MIDDLE, _OLD = 20, 50


def settle() -> None:
    """Never look again at what is in memory now, and seldom at what is to come."""
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
