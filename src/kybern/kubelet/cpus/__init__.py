"""Which CPUs containers run on: the CPU manager, with its policies ``none`` and ``static``.

``static.py`` gives whole CPUs to containers of Guaranteed pods that request a whole number of them,
as ``assignment.py`` chooses them on the machine's ``topology.py``; ``share.py`` is what one pod
gets, and where it could have it; ``checkpoint.py`` keeps who has what. ``manager.py`` is the part
of the node that the topology manager, starting containers and the end of pods ask, and the loop
that keeps all others off CPUs that were given away.
"""
