"""Log lines of every process: time, level, logger and message on standard error.

Called once by each process's entry point. ``verbosity`` is upstream's ``--v``: 0 shows warnings
and what an operator should know, 2 information, 4 and above everything.
"""

import logging
import sys

_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


def configure(verbosity: int = 2) -> None:
    """Log to standard error."""
    level = logging.DEBUG if verbosity >= 4 else logging.INFO if verbosity >= 1 else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format=_FORMAT, force=True)
    # A debug line for every HTTP request of the client would drown everything else.
    logging.getLogger("asyncio").setLevel(max(level, logging.INFO))
